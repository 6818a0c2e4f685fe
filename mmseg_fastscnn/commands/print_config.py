"""Print a config as a run sees it: joined with its bases, options applied, checked.

Example: fastscnn print_config fast_scnn_camvid.py --origin
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from mmseg_fastscnn.commands import options


def parse_args(parser: ArgumentParser, words: Sequence[str] | None) -> Namespace:
    options.add_config(parser)
    parser.add_argument(
        '--origin',
        action='store_true',
        help='print one line per value, with the file that set it',
    )
    return parser.parse_args(words)


def main(args: Namespace) -> None:
    from mmseg_fastscnn.config import load_config
    from mmseg_fastscnn.config.source import dotted, leaves, origin
    from mmseg_fastscnn.config.text import config_text

    config = load_config(args.config, args.cfg_options)
    if not args.origin:
        print(config_text(config), end='')
        return
    for path, value in leaves(config.to_dict()):
        print(f'{dotted(path)} = {value!r}  # {origin(config, path)}')
