"""Bilinear interpolation of logits: what depends only on sizes, and bands of rows.

What is kept from call to call is made outside of inference mode, so that training can
use what a prediction has left.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

LEAST_LOG = -80.0  # whose exponential is safely a normal float32

# Values of a band: few enough for a CPU's cache, enough to fill a GPU.
BAND_VALUES = {'cpu': 2**20, 'cuda': 2**26}


def source_position(size: int, out: int, align_corners: bool) -> Tensor:
    """Return where each of `out` output pixels lies among `size` input pixels, (out,).

    These are the positions of `F.interpolate(mode='bilinear')`, before negative ones
    are set to zero.
    """
    k = torch.arange(out, dtype=torch.float32)
    if align_corners:
        return k * ((size - 1) / (out - 1) if out > 1 else 0.0)
    return (k + 0.5) * (size / out) - 0.5


class Window(NamedTuple):
    """The part of a padded image that is not padding.

    Attributes:
        rows: The first row, and the one after the last.
        columns: The first column, and the one after the last.
    """

    rows: tuple[int, int]
    columns: tuple[int, int]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, (h, w)."""
        return self.rows[1] - self.rows[0], self.columns[1] - self.columns[0]

    def crop(self, image: Tensor) -> Tensor:
        """Return the window's part of (..., H, W)."""
        return image[..., slice(*self.rows), slice(*self.columns)]


class View(NamedTuple):
    """Coarse logits of an image, and the way to the image's size.

    Attributes:
        logits: (C, h, w), flipped back if the image was flipped.
        sizes: (h, w) to interpolate them to, one after the other; the last is the
            result's.
        window: What is kept of the first of these, if it was padded.
    """

    logits: Tensor
    sizes: Sequence[Sequence[int]]
    window: Window | None = None


def bilinear_matrix(
    size: int,
    outs: Sequence[int],
    align_corners: bool,
    window: tuple[int, int] | None = None,
) -> Tensor:
    """Return the matrix that interpolates `size` values, (results, size), on the CPU.

    Args:
        size: Size of the input.
        outs: Sizes to interpolate to, one after the other.
        align_corners: Passed to every interpolation.
        window: What is kept of the first of them: from where, and up to where.
    """
    matrix = torch.eye(size)[None, None]
    for out in outs:
        matrix = F.interpolate(
            matrix, (out, size), mode='bilinear', align_corners=align_corners
        )
        if window is not None:
            matrix, window = matrix[:, :, slice(*window)], None
    return matrix[0, 0]


@lru_cache(maxsize=64)  # as many sizes as ms+flip has, several times over
@torch.inference_mode(False)
def kept_matrix(size: int, out: int, align_corners: bool, device: torch.device):
    """Return `bilinear_matrix` for one interpolation, (out, size), on a device."""
    return bilinear_matrix(size, (out,), align_corners).to(device)


class Band(NamedTuple):
    """Some rows of the output, and what they are made of.

    Attributes:
        rows: Which rows of the output.
        source: The rows of the input that they are made of.
        weights: (len(rows), len(source)).
    """

    rows: slice
    source: slice
    weights: Tensor


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def bands_of_rows(
    size: int,
    outs: Sequence[int],
    align_corners: bool,
    window: tuple[int, int] | None,
    height: int,
    device: torch.device,
) -> list[Band]:
    """Divide an interpolation of rows, as of `bilinear_matrix`, into bands.

    Args:
        size, outs, align_corners, window: See `bilinear_matrix`.
        height: Rows of a band.
        device: Where the weights are to be.

    Returns:
        The bands, which nobody may change.
    """
    matrix = bilinear_matrix(size, outs, align_corners, window)
    used = (matrix != 0).int()
    first = used.argmax(1).tolist()
    last = (size - 1 - used.flip(1).argmax(1)).tolist()
    result = []
    for start in range(0, len(matrix), height):
        rows = slice(start, min(start + height, len(matrix)))
        source = slice(min(first[rows]), max(last[rows]) + 1)
        weights = matrix[rows, source].clone()  # so that the matrix is not kept
        result.append(Band(rows, source, weights.to(device)))
    return result


class Upsampling:
    """Bilinear interpolation of images to one size, a band of rows at a time.

    The columns are interpolated first, for all rows at once, while these are few:
    `wide = up.widen(image)`; then, for each of `up.bands`,
    `band.weights @ wide[:, band.source]`.

    Args:
        like: The images, (N, C, h, w): their shape and device.
        sizes: (h, w) to interpolate to, one after the other; the last is the result's.
        align_corners: Passed to every interpolation.
        window: What is kept of the first of these; see `View`.

    Attributes:
        bands: The rows, in bands that fit the cache.
    """

    def __init__(
        self,
        like: Tensor,
        sizes: Sequence[Sequence[int]],
        align_corners: bool,
        window: Window | None = None,
    ):
        heights, self.widths = zip(*sizes, strict=True)
        self.align_corners = align_corners
        rows, self.window = window or (None, None)
        values = BAND_VALUES.get(like.device.type, BAND_VALUES['cuda'])
        at_once = max(1, values // (like.shape[1] * self.widths[-1]))
        self.bands = bands_of_rows(
            like.shape[2], heights, align_corners, rows, at_once, like.device
        )

    def widen(self, image: Tensor) -> Tensor:
        """Interpolate the columns of (C, h, w) to (C, h, W)."""
        image = image.contiguous()[None]  # in channels_last it takes twice as long
        window = self.window
        for width in self.widths:
            if width != image.shape[3]:
                size = (image.shape[2], width)
                image = F.interpolate(
                    image, size, mode='bilinear', align_corners=self.align_corners
                )
            if window is not None:
                image, window = image[..., slice(*window)], None
        return image[0]
