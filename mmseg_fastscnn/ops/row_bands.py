"""Some layers of a network over an image, a band of rows at a time."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

BAND_BYTES = 4 << 20  # of a band's input; the maps inside are several times that
NEAR_ROWS_ONLY = (
    nn.Conv2d,
    _BatchNorm,
    nn.Dropout,
    nn.Dropout2d,
    nn.Identity,
    nn.ReLU,
    nn.ReLU6,
    nn.PReLU,
    nn.LeakyReLU,
    nn.Hardswish,
    nn.SiLU,
    nn.GELU,
)


def in_row_bands(
    layers: Sequence[nn.Module], x: Tensor, stride: int, margin: int = 1
) -> Tensor:
    """Apply layers one after the other, so that their inner maps fit a CPU's cache.

    The whole image is one band where gradients may be asked for; in training, where
    its statistics normalise it; on a GPU, which is fastest with large maps; in a graph
    that is traced or exported, which would be cut for one size; and with layers that
    are not known to look at near rows only, such as GroupNorm.

    Args:
        layers: Row i of their result must be made of no more than rows
            (i - margin) * stride to (i + margin) * stride of x; at the edges they pad.
        x: (N, C, H, W).
        stride: Rows of x for a row of the result.
        margin: See `layers`.
    """

    def run(x: Tensor) -> Tensor:
        for layer in layers:
            x = layer(x)
        return x

    if not can_be_cut(layers, x):
        return run(x)
    bytes_per_row = stride * x.element_size() * x[:, :, 0].numel()
    rows = max(1, BAND_BYTES // bytes_per_row)
    height = -(-x.shape[2] // stride)
    if rows >= height:
        return run(x)
    result = None
    for first in range(0, height, rows):
        above = min(first, margin)
        until = stride * (first + rows + margin - 1) + 1
        band = run(x[:, :, stride * (first - above) : until])
        band = band[:, :, above : above + rows]
        if result is None:
            result = torch.empty(
                (*band.shape[:2], height, band.shape[3]),
                dtype=band.dtype,
                memory_format=torch.channels_last,
            )
        stop = first + band.shape[2]
        result[:, :, first:stop] = band
    return result[:, :, :stop]


def can_be_cut(layers: Sequence[nn.Module], x: Tensor) -> bool:
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
    if torch.is_grad_enabled() or traced or x.device.type != 'cpu':
        return False
    return all(
        isinstance(part, NEAR_ROWS_ONLY) and not part.training
        for layer in layers
        for part in layer.modules()
        if not any(True for _ in part.children())  # it does what its parts do
    )
