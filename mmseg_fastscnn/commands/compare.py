"""Compare runs: a table per class here, and a page with their curves.

Runs of one config with several seeds form a group, whose spread is shown.

Example: fastscnn compare work_dirs/base_0 work_dirs/base_1 work_dirs/new_0
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence


def parse_args(parser: ArgumentParser, words: Sequence[str] | None) -> Namespace:
    parser.add_argument('runs', metavar='RUN', nargs='+', help='work dirs of runs')
    parser.add_argument(
        '--html',
        metavar='FILE',
        default='compare.html',
        help='where to write the page (default: %(default)s)',
    )
    args = parser.parse_args(words)
    if len(args.runs) < 2:
        parser.error('give two runs or more.')
    return args


def main(args: Namespace) -> None:
    from mmseg_fastscnn.report.compare_page import parts_of_page
    from mmseg_fastscnn.report.comparison import compared, lines_of
    from mmseg_fastscnn.report.dataset_text import printable
    from mmseg_fastscnn.report.page import write_page
    from mmseg_fastscnn.report.run_files import read_run

    groups = compared([read_run(folder) for folder in args.runs])
    for line in lines_of(groups, groups[0].runs[0].metainfo['classes']):
        print(printable(line))
    write_page(args.html, parts_of_page(groups))
    print(f'Written: {args.html}')
