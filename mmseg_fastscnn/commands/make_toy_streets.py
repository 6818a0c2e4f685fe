"""Draw synthetic street scenes as a data set in Cityscapes' format.

Example: fastscnn make_toy_streets data/toy_streets
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence


def parse_args(parser: ArgumentParser, words: Sequence[str] | None) -> Namespace:
    parser.add_argument('root', metavar='ROOT', help='folder of the data set')
    parser.add_argument(
        '--size',
        nargs=2,
        type=int,
        default=(256, 512),
        metavar=('H', 'W'),
        help='size of the images, in pixels (default: 256 512)',
    )
    parser.add_argument(
        '--num-train',
        type=int,
        default=300,
        metavar='N',
        help='scenes in train (default: %(default)s)',
    )
    parser.add_argument(
        '--num-val',
        type=int,
        default=40,
        metavar='N',
        help='scenes in val (default: %(default)s)',
    )
    args = parser.parse_args(words)
    if min(args.size) < 32 or min(args.num_train, args.num_val) < 1:
        parser.error('images need at least 32 x 32 pixels, and each split one scene.')
    return args


def report(done: int, total: int) -> None:
    if done % 50 == 0:
        print(f'{done} of {total} scenes', flush=True)


def main(args: Namespace) -> None:
    from mmseg_fastscnn.datasets.toy_streets import write_toy_streets

    size = tuple(args.size)
    write_toy_streets(args.root, size, args.num_train, args.num_val, report)
    print(
        f'Toy streets: {args.root} ({args.num_train} scenes in train, {args.num_val} '
        f'in val, {size[0]} x {size[1]} pixels)'
    )
