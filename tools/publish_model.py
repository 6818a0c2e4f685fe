"""Reduce a checkpoint to weights and meta data, and name the file by its sha256.

OUT `name.pth` becomes `name-0cec9937.pth`, with the first eight hexadecimal digits of
the file's own sha256, which are checked whenever this project loads the file.
"""

import argparse
from pathlib import Path

from mmseg_fastscnn.checkpoint import read_checkpoint, write_weights
from mmseg_fastscnn.commands.entrance import run_command


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', metavar='IN', help='the checkpoint')
    parser.add_argument('target', metavar='OUT', help='the file to write, NAME.pth')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    target = Path(args.target)
    name = target.with_name(f'{target.stem}-{{hash}}.pth')
    print(f'Written: {write_weights(name, read_checkpoint(args.source))}')


if __name__ == '__main__':
    run_command(main)
