"""Convert a checkpoint of any known kind to a file of weights in our names.

Known are mmsegmentation 0.x and 1.x, Tramac/Fast-SCNN-pytorch, bare state dicts and
safetensors. The result has `state_dict` and `meta`, and any torch loads it with
weights_only=True.

Example: fastscnn convert_checkpoint released.pth street.pth
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from mmseg_fastscnn.commands import options


def parse_args(parser: ArgumentParser, words: Sequence[str] | None) -> Namespace:
    parser.add_argument('source', metavar='IN', help='the checkpoint')
    parser.add_argument('target', metavar='OUT', help='the file to write, NAME.pth')
    options.add_weights(parser)
    return parser.parse_args(words)


def main(args: Namespace) -> None:
    from mmseg_fastscnn.checkpoint import read_checkpoint, write_weights

    content = read_checkpoint(args.source, args.weights)
    path = write_weights(args.target, content)
    classes = (content['meta'].get('dataset_meta') or {}).get('classes')
    named = f'{len(classes)} classes' if classes else 'no class names'
    print(f'Written: {path} ({len(content["state_dict"])} tensors, {named})')
