"""Bilinear interpolation without torch. NumPy."""

import numpy as np

from mmseg_fastscnn.ops.cell_argmax import axis_cells


def interpolated(
    values: np.ndarray, size: tuple[int, int], align_corners: bool
) -> np.ndarray:
    """Interpolate (C, h, w) bilinearly to (C, H, W), as `F.interpolate` does."""
    for dim, out in zip((1, 2), size, strict=True):
        axis = axis_cells(values.shape[dim], out, align_corners)
        low, high = axis.low.repeat(axis.count), axis.high.repeat(axis.count)
        share = np.empty(out, np.float32)
        share[axis.pixels] = axis.share
        share = share[:, None] if dim == 1 else share
        start = values.take(low, axis=dim)
        values = start + (values.take(high, axis=dim) - start) * share
    return values
