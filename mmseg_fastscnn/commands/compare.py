"""Compare runs: a table per class here, and a page with their curves.

Runs of one config with several seeds form a group, whose spread is shown.

Example: fastscnn compare work_dirs/base_0 work_dirs/base_1 work_dirs/new_0
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path


def parse_args(parser: ArgumentParser, words: Sequence[str] | None) -> Namespace:
    parser.add_argument(
        'runs', metavar='RUN', nargs='+', help='work dirs of runs, or of a sweep'
    )
    parser.add_argument(
        '--html',
        metavar='FILE',
        default='compare.html',
        help='where to write the page (default: %(default)s)',
    )
    return parser.parse_args(words)


def runs_of(folder: Path) -> list[Path]:
    """Return the runs of a sweep, or the folder itself if it is no sweep."""
    from mmseg_fastscnn.engine.sweep.plan import STATE

    return sorted(file.parent for file in folder.glob(f'*/*/{STATE}')) or [folder]


def main(args: Namespace) -> None:
    from mmseg_fastscnn.report.compare_page import parts_of_page
    from mmseg_fastscnn.report.comparison import compared, lines_of
    from mmseg_fastscnn.report.page import printable, write_page
    from mmseg_fastscnn.report.run_files import read_run

    for folder in args.runs:
        if not Path(folder).is_dir():
            raise FileNotFoundError(f'{folder} is no folder; give work dirs of runs.')
    folders = [run for folder in args.runs for run in runs_of(Path(folder))]
    if len(folders) < 2:
        raise ValueError(f'{folders[0]} is one run; give two or more, or a sweep.')
    groups = compared([read_run(folder) for folder in folders])
    for line in lines_of(groups):
        print(printable(line))
    write_page(args.html, parts_of_page(groups))
    print(f'Written: {args.html}')
