"""Make the report of a run again, from the files in its folder.

Training writes report.html itself, after each validation.

Example: fastscnn report work_dirs/fast_scnn_camvid
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence


def parse_args(parser: ArgumentParser, words: Sequence[str] | None) -> Namespace:
    parser.add_argument('run', metavar='RUN', help='work dir of a training run')
    return parser.parse_args(words)


def main(args: Namespace) -> None:
    from mmseg_fastscnn.report.run_page import write_report

    print(f'Written: {write_report(args.run)}')
