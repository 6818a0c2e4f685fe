"""Adaptive average pooling, as a matrix product or as PyTorch's operator."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_fastscnn.ops.kept import kept

PoolingForm = Literal['matrix', 'operator']


def adaptive_avg_pool(x: Tensor, bins: int, form: PoolingForm = 'matrix') -> Tensor:
    """Average `x` (N, C, H, W) over a grid: (N, C, bins, bins).

    Args:
        x: The feature map.
        bins: Cells of the grid along each axis.
        form: How it is computed, with the same result. 'matrix' has a deterministic
            backward on every device, and exports to ONNX at any size. 'operator' is
            `F.adaptive_avg_pool2d`: faster without gradients, and a layer that
            exporters know, some of them only for sizes that are a multiple of `bins`.
    """
    if form == 'operator':
        return F.adaptive_avg_pool2d(x, bins)
    cells = cell_matrix(*x.shape[2:], bins, x.dtype, like=x)
    pooled = cells @ x.flatten(2).transpose(1, 2)  # channels last, as x is
    return pooled.transpose(1, 2).unflatten(2, (bins, bins))


@kept
def cell_matrix(
    height: int, width: int, bins: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Return the (bins * bins, height * width) matrix that averages each cell."""
    rows = axis_matrix(height, bins, dtype, device)
    columns = axis_matrix(width, bins, dtype, device)
    return (rows[:, None, :, None] * columns[:, None]).flatten(2).flatten(0, 1)


def axis_matrix(
    size: int, bins: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Return the (bins, size) matrix that averages `size` pixels into `bins`.

    Bin k covers pixels floor(k * size / bins) to ceil((k + 1) * size / bins) - 1, as
    `torch.nn.AdaptiveAvgPool2d` has it, so that bins overlap where `size` is no
    multiple of `bins`.
    """
    pixel = torch.arange(size, device=device)
    k = torch.arange(bins, device=device)[:, None]
    start, stop = k * size // bins, ((k + 1) * size + bins - 1) // bins
    return ((pixel >= start) & (pixel < stop)).to(dtype) / (stop - start)
