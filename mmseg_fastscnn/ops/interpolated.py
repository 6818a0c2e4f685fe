"""Bilinear interpolation without torch. NumPy."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np

from mmseg_fastscnn.ops.cell_argmax import axis_cells


def interpolated(
    values: np.ndarray, sizes: Sequence[tuple[int, int]], align_corners: bool
) -> np.ndarray:
    """Interpolate (C, h, w) bilinearly, as `F.interpolate` does, to one or more sizes.

    Each axis is one matrix product, whatever the number of steps: a step is linear, and
    a library multiplies matrices faster than NumPy gathers neighbours.

    Args:
        values: (C, h, w) float32.
        sizes: (H, W) of each step, one after the other.
        align_corners: As in `torch.nn.functional.interpolate`.
    """
    heights, widths = zip(values.shape[1:], *sizes, strict=True)
    rows, columns = (axis_matrix(axis, align_corners) for axis in (heights, widths))
    return rows @ values @ columns.T


@lru_cache(maxsize=64)
def axis_matrix(sizes: tuple[int, ...], align_corners: bool) -> np.ndarray:
    """Return the weights (last size, first size) of interpolations along one axis."""
    weights = np.eye(sizes[0], dtype=np.float32)
    for size, out in pairwise(sizes):
        axis = axis_cells(size, out, align_corners)
        share = np.empty((out, 1), np.float32)
        share[axis.pixels, 0] = axis.share
        low, high = (weights[some.repeat(axis.count)] for some in (axis.low, axis.high))
        weights = low * (1 - share) + high * share
    return weights
