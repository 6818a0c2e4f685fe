"""Translate a config of mmsegmentation 0.x to a config of this project."""

import argparse
from pathlib import Path

from mmseg_fastscnn.commands.entrance import run_command
from mmseg_fastscnn.config.from_0x import is_0x, translate_0x
from mmseg_fastscnn.config.read import read_config
from mmseg_fastscnn.writing import whole_file


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('old', metavar='OLD', help='the 0.x config')
    parser.add_argument('new', metavar='NEW', help='the file to write, NAME.py')
    args = parser.parse_args()
    if Path(args.new).suffix != '.py':
        parser.error(f'{args.new} does not end in .py.')
    if Path(args.new).exists():
        parser.error(f'{args.new} exists; remove it or choose another name.')
    return args


def main() -> None:
    args = parse_args()
    old = read_config(args.old)
    if not is_0x(old):
        raise ValueError(
            f'{args.old} is not a config of mmsegmentation 0.x: it has no '
            f'data.samples_per_gpu. A 1.x config runs as it is.'
        )
    new, notes = translate_0x(old)
    with whole_file(args.new) as file:
        file.write(new.pretty_text.encode())
    for note in notes:
        print(f'without a counterpart, and left out: {note}')
    print(f'Written: {args.new}')


if __name__ == '__main__':
    run_command(main)
