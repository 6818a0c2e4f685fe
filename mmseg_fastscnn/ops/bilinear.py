"""Bilinear interpolation as two matrices, so that it can be done a band at a time."""

from collections.abc import Sequence
from functools import reduce
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

# Values of a band: few enough for a CPU's cache, enough to fill a GPU.
BAND_VALUES = {'cpu': 2**20, 'cuda': 2**26}


def band_values(like: Tensor) -> int:
    """How many values a band should have on a tensor's device."""
    return BAND_VALUES.get(like.device.type, BAND_VALUES['cuda'])


def source_position(size: int, out: int, align_corners: bool) -> Tensor:
    """Where among `size` input pixels each of `out` output pixels lies, (out,).

    As `F.interpolate(mode='bilinear')` has it, before it cuts off what is negative.
    """
    k = torch.arange(out, dtype=torch.float32)
    if align_corners:
        return k * ((size - 1) / (out - 1) if out > 1 else 0.0)
    return (k + 0.5) * (size / out) - 0.5


def bilinear_matrix(size: int, out: int, align_corners: bool) -> Tensor:
    """Return the (out, size) matrix that interpolates `size` values to `out`.

    Its rows are the weights of `F.interpolate(mode='bilinear')` along one axis: at
    most two of them are not zero, and they sum to 1.
    """
    source = source_position(size, out, align_corners).clamp(min=0)
    low = source.long().clamp(max=size - 1)
    high = (low + 1).clamp(max=size - 1)
    part = source - low
    matrix = torch.zeros(out, size)
    matrix.scatter_add_(1, low[:, None], 1 - part[:, None])
    matrix.scatter_add_(1, high[:, None], part[:, None])
    return matrix


class Band(NamedTuple):
    """Some rows of the output, and what they are made of.

    Attributes:
        rows: Which rows of the output.
        low: The rows of the input that they are made of.
        weights: (len(rows), len(low)).
    """

    rows: slice
    low: slice
    weights: Tensor


class Upsampling:
    """Bilinear interpolation of images to one size, a band of rows at a time.

    The columns are interpolated first, for all rows at once, while these are few:
    `up.widen(image)`; then `band.weights @ wide[:, band.low]` for each of `up.bands`.

    Args:
        like: The images, (N, C, h, w): their shape and device.
        sizes: (h, w) to interpolate to, one after the other; the last is the result's.
        align_corners: Of every interpolation.

    Attributes:
        columns: (W, w) matrix.
        bands: The rows, in bands that fit the cache.
    """

    def __init__(
        self,
        like: Tensor,
        sizes: Sequence[Sequence[int]],
        align_corners: bool,
    ):
        rows, columns = (
            reduce(
                lambda before, step: bilinear_matrix(*step, align_corners) @ before,
                pairwise(sizes_of_axis),
                torch.eye(sizes_of_axis[0]),
            )
            for sizes_of_axis in zip(like.shape[2:], *sizes, strict=True)
        )
        self.columns = columns.to(like.device)
        self.bands = cut(rows.to(like.device), like.shape[1] * len(columns))

    def widen(self, image: Tensor) -> Tensor:
        """Interpolate the columns of (C, h, w) to (C, h, W)."""
        return image.contiguous() @ self.columns.T


def cut(matrix: Tensor, values_per_row: int) -> list[Band]:
    """Cut an interpolation of rows, (H, h), into bands that fit the cache."""
    height = max(1, band_values(matrix) // values_per_row)
    used = (matrix != 0).int().cpu()
    first = used.argmax(1).tolist()
    last = (matrix.shape[1] - 1 - used.flip(1).argmax(1)).tolist()
    result = []
    for start in range(0, len(matrix), height):
        rows = slice(start, min(start + height, len(matrix)))
        low = slice(min(first[rows]), max(last[rows]) + 1)
        result.append(Band(rows, low, matrix[rows, low]))
    return result
