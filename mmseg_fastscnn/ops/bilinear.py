"""Bilinear interpolation of logits, a band of rows at a time."""

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

LEAST_LOG = -80.0  # whose exponential is safely a normal float32

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


def bilinear_matrix(size: int, outs: Sequence[int], align_corners: bool) -> Tensor:
    """Return the (outs[-1], size) matrix that interpolates `size` values.

    Args:
        size: Of the input.
        outs: Sizes to interpolate to, one after the other.
        align_corners: Of every interpolation.
    """
    matrix = torch.eye(size)[None, None]
    for out in outs:
        matrix = F.interpolate(
            matrix, (out, size), mode='bilinear', align_corners=align_corners
        )
    return matrix[0, 0]


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
        bands: The rows, in bands that fit the cache.
    """

    def __init__(
        self, like: Tensor, sizes: Sequence[Sequence[int]], align_corners: bool
    ):
        heights, self.widths = zip(*sizes, strict=True)
        self.width = like.shape[3]
        self.align_corners = align_corners
        rows = bilinear_matrix(like.shape[2], heights, align_corners).to(like.device)
        self.bands = cut(rows, like.shape[1] * self.widths[-1])

    def widen(self, image: Tensor) -> Tensor:
        """Interpolate the columns of (C, h, w) to (C, h, W)."""
        image = image.contiguous()[None]  # in channels_last it takes twice as long
        for width in self.widths:
            image = F.interpolate(
                image,
                (image.shape[2], width),
                mode='bilinear',
                align_corners=self.align_corners,
            )
        return image[0]

    def narrow(self, gradient: Tensor) -> Tensor:
        """Carry the gradient (C, h, W) of what `widen` gave back to (C, h, w)."""
        return gradient @ self._columns.to(gradient)

    @cached_property
    def _columns(self) -> Tensor:
        return bilinear_matrix(self.width, self.widths, self.align_corners)


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
