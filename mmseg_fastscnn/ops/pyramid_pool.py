"""Adaptive average pooling as a matrix."""

from functools import lru_cache

import torch
from torch import Tensor


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
    multiple of `bins`. Computed without a division, which exports to few operators.
    """
    pixel = torch.arange(size, device=device)
    k = torch.arange(bins, device=device)[:, None]
    inside = (bins * (pixel + 1) > k * size) & (bins * pixel < (k + 1) * size)
    inside = inside.to(dtype)
    # without `dtype`, autocast on CUDA would sum in float32
    return inside / inside.sum(1, keepdim=True, dtype=dtype)


# Tensors made in inference mode could not be used in training later on.
kept_cell_matrix = lru_cache(maxsize=64)(torch.inference_mode(False)(cell_matrix))
