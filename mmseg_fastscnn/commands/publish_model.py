"""Reduce a checkpoint to weights and meta data, and name the file by its sha256.

OUT `name.pth` becomes `name-0cec9937.pth`, with the first eight hexadecimal digits of
the file's own sha256, which are checked whenever this project loads the file. The
config inside keeps no path of this machine. OUT may be a `.safetensors` file, too.

Example: fastscnn publish_model work_dirs/street/iter_4000.pth street.pth
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path


def parse_args(parser: ArgumentParser, words: Sequence[str] | None) -> Namespace:
    parser.add_argument('source', metavar='IN', help='the checkpoint')
    parser.add_argument('target', metavar='OUT', help='the file to write, NAME.pth')
    parser.add_argument(
        '--small',
        action='store_true',
        help='kernels in half precision and no auxiliary heads, as a start for others',
    )
    return parser.parse_args(words)


def main(args: Namespace) -> None:
    from mmseg_fastscnn.checkpoint import read_checkpoint, write_weights
    from mmseg_fastscnn.checkpoint.files import SAFETENSORS
    from mmseg_fastscnn.checkpoint.shipped import to_ship
    from mmseg_fastscnn.config.publishable import without_paths

    target = Path(args.target)
    suffix = SAFETENSORS if target.suffix == SAFETENSORS else '.pth'
    name = target.with_name(f'{target.stem}-{{hash}}{suffix}')
    content = read_checkpoint(args.source)
    if args.small:
        content['state_dict'] = to_ship(content['state_dict'])
    if content['meta'].get('cfg'):
        text = content['meta']['cfg']
        content['meta']['cfg'] = without_paths(text, f'The config in {args.source}')
    print(f'Written: {write_weights(name, content)}')
