"""A function of an image, a band of rows at a time."""

from collections.abc import Callable

import torch
from torch import Tensor

BAND_BYTES = 4 << 20  # of a band's input; the maps inside are several times that


def in_row_bands(
    function: Callable[[Tensor], Tensor], x: Tensor, stride: int, margin: int
) -> Tensor:
    """Apply a function band after band, so that its inner maps fit a CPU's cache.

    Args:
        function: Row i of its result must be made of no more than rows
            (i - margin) * stride to (i + margin) * stride of x. At the upper and lower
            edge of what it is given it may pad.
        x: (N, C, H, W).
        stride: Rows of x per row of the result.
        margin: See `function`.

    Returns:
        `function(x)`, in channels_last where it was cut.
    """
    bytes_per_row = stride * x.element_size() * (x.numel() // x.shape[2])
    rows = max(1, BAND_BYTES // bytes_per_row)
    height = -(-x.shape[2] // stride)
    if rows >= height:
        return function(x)
    result = None
    for first in range(0, height, rows):
        above = min(first, margin)
        until = stride * (first + rows + margin - 1) + 1
        band = function(x[:, :, stride * (first - above) : until])
        band = band[:, :, above : above + rows]
        if result is None:
            result = torch.empty(
                (*band.shape[:2], height, band.shape[3]),
                dtype=band.dtype,
                memory_format=torch.channels_last,
            )
        stop = first + band.shape[2]
        result[:, :, first:stop] = band
    return result[:, :, :stop]  # without padding, it may have a row less
