"""Count the parameters and the multiply-accumulates of a network, part by part.

Convolutions and products of matrices are counted, for one image, up to the logits. A
multiply-accumulate (MAC) is two FLOPs; mmsegmentation's tool of this name prints MACs
and calls them FLOPs. Nothing is computed, and no data is read.

Example: fastscnn get_flops fast_scnn_camvid.py --size 360 480
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from mmseg_fastscnn.commands import options

if TYPE_CHECKING:
    from torch import nn

SIZE = (1024, 2048)


def parse_args(parser: ArgumentParser, words: Sequence[str] | None) -> Namespace:
    options.add_config(parser)
    parser.add_argument(
        '--size',
        type=int,
        nargs=2,
        default=SIZE,
        metavar=('H', 'W'),
        help='size of the image (default: {} {}, as in Cityscapes)'.format(*SIZE),
    )
    args = parser.parse_args(words)
    if min(args.size) < 1:
        parser.error(f'--size is {args.size}; both must be at least 1.')
    return args


def main(args: Namespace) -> None:
    from mmseg_fastscnn.config import load_config, require

    config = load_config(args.config, args.cfg_options)
    require(config, ['model'], 'counting')
    print(table(count(config.model, tuple(args.size)), tuple(args.size)))


def count(settings: dict, size: tuple[int, int]) -> dict[str, tuple[int, int]]:
    """Return the parameters and the MACs of each part of a network.

    Args:
        settings: Config of the segmentor.
        size: (h, w) of the image.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from mmseg_fastscnn.registry import MODELS

    with torch.device('meta'):  # shapes without values
        model = MODELS.build(settings).eval()
        image = torch.empty(1, settings['backbone'].get('in_channels', 3), *size)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(image, mode='tensor')
    flops = {
        name.partition('.')[2]: sum(operators.values())
        for name, operators in counter.get_flop_counts().items()
    }
    return {
        name: (sum(p.numel() for p in part.parameters()), flops.get(name, 0) // 2)
        for name, part in parts_of(model)
    }


def parts_of(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the parts of the backbone, and the heads."""
    for name, part in model.named_children():
        if name == 'backbone':
            yield from ((f'backbone.{k}', v) for k, v in part.named_children())
        elif any(True for _ in part.parameters()):
            yield name, part


def table(counts: dict[str, tuple[int, int]], size: tuple[int, int]) -> str:
    """Return one line per part, and the sum of those that predict."""
    width = max(map(len, counts))

    def row(name: str, parameters: int, macs: str) -> str:
        return f'{name:<{width}}{parameters:>12,}{macs:>10}'

    lines, total = [f'{"part":<{width}}{"parameters":>12}{"GMACs":>10}'], [0, 0]
    for name, (parameters, macs) in counts.items():
        if name.startswith('auxiliary_head'):
            lines.append(row(name, parameters, '-') + '  in training only')
            continue
        lines.append(row(name, parameters, f'{macs / 1e9:.3f}'))
        total[0] += parameters
        total[1] += macs
    lines.append(row('all that predicts', total[0], f'{total[1] / 1e9:.3f}'))
    lines.append(f'{2e-9 * total[1]:.3f} GFLOPs for an image of {size[0]}x{size[1]}')
    return '\n'.join(lines)
