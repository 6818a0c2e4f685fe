"""Adaptive average pooling as a matrix product."""

import torch
from torch import Tensor


def pooling_matrix(size: int, bins: int, like: Tensor) -> Tensor:
    """Return the (bins, size) matrix that averages `size` cells into `bins`.

    Bin k covers cells floor(k * size / bins) to ceil((k + 1) * size / bins) - 1, as
    `torch.nn.AdaptiveAvgPool2d` has it, so that bins overlap where `size` is no
    multiple of `bins`. Dtype and device are those of `like`.
    """
    cell = torch.arange(size, device=like.device)
    k = torch.arange(bins, device=like.device)[:, None]
    start, stop = k * size // bins, ((k + 1) * size + bins - 1) // bins
    return ((cell >= start) & (cell < stop)).to(like.dtype) / (stop - start)


def adaptive_avg_pool(x: Tensor, bins: int) -> Tensor:
    """Average `x` (N, C, H, W) over a grid: (N, C, bins, bins).

    The same numbers as `F.adaptive_avg_pool2d(x, bins)`. A matrix product has a
    deterministic backward on every device and exports at any size, where the pooling
    operator exports only for sizes that are a multiple of `bins`.
    """
    rows = pooling_matrix(x.shape[2], bins, like=x)
    columns = pooling_matrix(x.shape[3], bins, like=x)
    cells = (rows[:, None, :, None] * columns[:, None]).flatten(2).flatten(0, 1)
    pooled = cells @ x.flatten(2).transpose(1, 2)  # channels last, as x is
    return pooled.transpose(1, 2).unflatten(2, (bins, bins))
