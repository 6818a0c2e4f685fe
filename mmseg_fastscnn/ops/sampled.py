"""Bilinear interpolation at any places of a grid."""

import torch
from torch import Tensor


def sampled(values: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Interpolate (..., h, w) bilinearly at places (n,) x (m,); return (..., n, m).

    Places count in steps of the grid, from its first value; those beyond its border
    have the border's value.
    """
    return along(along(values, rows, -2), columns, -1)


def along(values: Tensor, places: Tensor, axis: int) -> Tensor:
    """Interpolate linearly along one of the last two axes."""
    last = values.shape[axis] - 1
    places = places.to(values.device, values.dtype).clamp(0, last)
    low = places.long()
    share = places - low
    low_values, high_values = (
        values.index_select(axis, index) for index in (low, (low + 1).clamp(max=last))
    )
    return torch.lerp(low_values, high_values, share[:, None] if axis == -2 else share)


def part_needed(places: Tensor, size: int) -> slice:
    """Return which of `size` values an interpolation at some places reads."""
    first, last = places.aminmax()
    return slice(int(first.clamp(0, size - 1)), int(last.clamp(0, size - 1)) + 2)


def cells(pixels: int, stride: int) -> int:
    """Return how many cells of `stride` pixels cover a length."""
    return -(-pixels // stride)


def cell_of(pixel: Tensor, stride: int) -> Tensor:
    """Return where pixels lie on a grid of cells of `stride` pixels."""
    return (pixel + 0.5) / stride - 0.5


def centres(count: int, stride: int) -> Tensor:
    """Return the pixel at the centre of each cell."""
    return (torch.arange(count) + 0.5) * stride - 0.5
