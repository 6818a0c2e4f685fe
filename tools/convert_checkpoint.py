"""Convert a checkpoint of any known kind to a file of weights in our names.

Known are mmsegmentation 0.x and 1.x, Tramac/Fast-SCNN-pytorch, bare state dicts and
safetensors. The result has `state_dict` and `meta`, and any torch loads it with
weights_only=True.
"""

import argparse

from mmseg_fastscnn.checkpoint import read_checkpoint, write_weights
from mmseg_fastscnn.commands import options
from mmseg_fastscnn.commands.entrance import run_command


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', metavar='IN', help='the checkpoint')
    parser.add_argument('target', metavar='OUT', help='the file to write, NAME.pth')
    options.add_weights(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    content = read_checkpoint(args.source, args.weights)
    path = write_weights(args.target, content)
    classes = (content['meta'].get('dataset_meta') or {}).get('classes')
    named = f'{len(classes)} classes' if classes else 'no class names'
    print(f'Written: {path} ({len(content["state_dict"])} tensors, {named})')


if __name__ == '__main__':
    run_command(main)
