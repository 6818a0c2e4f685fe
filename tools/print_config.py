"""Print a config as a run sees it: joined with its bases, options applied, checked."""

import argparse

from mmseg_fastscnn.commands import options
from mmseg_fastscnn.commands.entrance import run_command
from mmseg_fastscnn.config import load_config
from mmseg_fastscnn.config.source import dotted, leaves, origin


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    options.add_config(parser)
    parser.add_argument(
        '--origin',
        action='store_true',
        help='print one line per value, with the file that set it',
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    config = load_config(args.config, args.cfg_options)
    if not args.origin:
        print(config.pretty_text)
        return
    for path, value in leaves(config.to_dict()):
        print(f'{dotted(path)} = {value!r}  # {origin(config, path)}')


if __name__ == '__main__':
    run_command(main)
