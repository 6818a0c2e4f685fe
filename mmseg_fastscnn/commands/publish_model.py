"""Reduce a checkpoint to weights and meta data, and name the file by its sha256.

OUT `name.pth` becomes `name-0cec9937.pth`, with the first eight hexadecimal digits of
the file's own sha256, which are checked whenever this project loads the file. The
config inside keeps no path of this machine.

Example: fastscnn publish_model work_dirs/street/iter_4000.pth street.pth
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path


def parse_args(parser: ArgumentParser, words: Sequence[str] | None) -> Namespace:
    parser.add_argument('source', metavar='IN', help='the checkpoint')
    parser.add_argument('target', metavar='OUT', help='the file to write, NAME.pth')
    return parser.parse_args(words)


def main(args: Namespace) -> None:
    from mmseg_fastscnn.checkpoint import read_checkpoint, write_weights
    from mmseg_fastscnn.config.publishable import without_paths

    target = Path(args.target)
    name = target.with_name(f'{target.stem}-{{hash}}.pth')
    content = read_checkpoint(args.source)
    if content['meta'].get('cfg'):
        text = content['meta']['cfg']
        content['meta']['cfg'] = without_paths(text, f'The config in {args.source}')
    print(f'Written: {write_weights(name, content)}')
