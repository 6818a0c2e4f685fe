"""Translate a config of mmsegmentation 0.x to a config of this project.

Example: fastscnn convert_config old.py new.py
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path


def parse_args(parser: ArgumentParser, words: Sequence[str] | None) -> Namespace:
    parser.add_argument('old', metavar='OLD', help='the 0.x config')
    parser.add_argument('new', metavar='NEW', help='the file to write, NAME.py')
    args = parser.parse_args(words)
    if Path(args.new).suffix != '.py':
        parser.error(f'{args.new} does not end in .py.')
    if Path(args.new).exists():
        parser.error(f'{args.new} exists; remove it or choose another name.')
    return args


def main(args: Namespace) -> None:
    from mmseg_fastscnn.config.from_0x import is_0x, translate_0x
    from mmseg_fastscnn.config.read import read_config
    from mmseg_fastscnn.config.text import config_text
    from mmseg_fastscnn.writing import write_file

    old = read_config(args.old)
    if not is_0x(old):
        raise ValueError(
            f'{args.old} is not a config of mmsegmentation 0.x: it has no '
            f'data.samples_per_gpu. A 1.x config runs as it is.'
        )
    new, notes = translate_0x(old)
    write_file(args.new, config_text(new).encode())
    for note in notes:
        print(f'without a counterpart, and left out: {note}')
    print(f'Written: {args.new}')
