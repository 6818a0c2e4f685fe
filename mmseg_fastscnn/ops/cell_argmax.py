"""The label map of upsampled logits, exact, without upsampling most of them. NumPy.

Bilinear weights are not negative and sum to 1. So where the four logits around a cell,
the space between four pixels, have the same best class, that class is the best in all
of the cell. Only cells whose corners differ, the outlines of things, are interpolated:
some percent of a street. Exact, but for ties within float32's rounding.
"""

from functools import lru_cache, reduce
from typing import NamedTuple

import numpy as np

PIXELS_AT_ONCE = 2**20  # of cells that are interpolated together, to fit the cache


class Axis(NamedTuple):
    """One axis of the output, divided into cells.

    Attributes:
        count: (cells,) Number of output pixels of each cell.
        low: (cells,) The input pixel before each cell.
        high: (cells,) The one after it; the same one at the edges.
        pixels: (most, cells) Output pixels of each; the last is repeated to fill up.
        share: (most, cells) How far from `low` to `high` each of them lies, 0 to 1.
    """

    count: np.ndarray
    low: np.ndarray
    high: np.ndarray
    pixels: np.ndarray
    share: np.ndarray


def cell_argmax(
    logits: np.ndarray, size: tuple[int, int], align_corners: bool = False
) -> np.ndarray:
    """Return the best class of each pixel of bilinearly interpolated logits.

    Args:
        logits: (C, h, w) float32, with at most 256 classes.
        size: (H, W) of the result.
        align_corners: As in `torch.nn.functional.interpolate`.

    Returns:
        (H, W) uint8.
    """
    if logits.shape[1:] == size:
        return best_class(logits)
    y = axis_cells(logits.shape[1], size[0], align_corners)
    x = axis_cells(logits.shape[2], size[1], align_corners)
    winner = best_class(logits)
    rows_of_columns = [winner[rows] for rows in (y.low, y.high)]
    first, *others = (
        some.take(columns, axis=1)
        for some in rows_of_columns
        for columns in (x.low, x.high)
    )
    label = first.repeat(x.count, axis=1).repeat(y.count, axis=0)
    mixed = reduce(np.logical_or, [corner != first for corner in others])
    ky, kx = mixed.nonzero()
    at_once = max(1, PIXELS_AT_ONCE // (len(y.pixels) * len(x.pixels)))
    for start in range(0, len(ky), at_once):
        part = slice(start, start + at_once)
        fill_cells(label, logits, y, x, ky[part], kx[part])
    return label


def fill_cells(
    label: np.ndarray,
    logits: np.ndarray,
    y: Axis,
    x: Axis,
    ky: np.ndarray,
    kx: np.ndarray,
) -> None:
    """Interpolate the logits in some cells and write the best class into `label`.

    A class whose best corner is under the worst corner of another one cannot be the
    best. That leaves two or three candidates per cell.

    Args:
        label: (H, W) uint8.
        logits: (C, h, w).
        y: The rows' cells.
        x: The columns' cells.
        ky: (cells,) Which rows' cell each cell is in.
        kx: (cells,) Which columns' cell.
    """
    width = logits.shape[2]
    flat = logits.reshape(len(logits), -1)
    corners = [  # (C, cells)
        flat.take(rows[ky] * width + columns[kx], axis=1)
        for rows in (y.low, y.high)
        for columns in (x.low, x.high)
    ]
    lowest = reduce(np.minimum, corners).max(0)
    possible = ~(reduce(np.maximum, corners) < lowest)  # also where logits are NaN
    count = possible.sum(0)
    order = np.argsort(-count, kind='stable')  # those with most candidates first
    count, ky, kx = count[order], ky[order], kx[order]
    classes = possible.T[order].nonzero()[1]  # of the first cell, of the second, ...
    start = count.cumsum() - count
    down, right = y.share[:, None, ky], x.share[:, kx]
    best = found = None
    for rank in range(count[0]):
        n = np.searchsorted(-count, -rank)  # cells that have more candidates than that
        kind = classes[start[:n] + rank]
        top_left, top_right, low_left, low_right = (c[kind, order[:n]] for c in corners)
        across, along = right[:, :n], down[..., :n]
        top = top_left * (1 - across) + top_right * across
        low = low_left * (1 - across) + low_right * across
        score = top * (1 - along) + low * along  # (rows, columns, cells)
        kind = kind.astype(np.uint8)
        if rank == 0:
            best, found = score, np.broadcast_to(kind, score.shape).copy()
        else:
            better = score > best[..., :n]
            np.copyto(found[..., :n], kind, where=better)
            np.maximum(best[..., :n], score, out=best[..., :n])
    label[y.pixels[:, None, ky], x.pixels[:, kx]] = found


def best_class(scores: np.ndarray) -> np.ndarray:
    """Return the first best of (C, ...) scores, uint8; faster than `argmax(0)`."""
    best = scores[0].copy()
    label = np.zeros(best.shape, np.uint8)
    for k, score in enumerate(scores[1:], start=1):
        np.copyto(label, k, where=score > best)
        np.maximum(best, score, out=best)
    return label


@lru_cache(maxsize=64)  # as many sizes as ms+flip has, several times over
def axis_cells(size: int, out: int, align_corners: bool) -> Axis:
    """Divide the interpolation of `size` input to `out` output pixels into cells."""
    k = np.arange(out, dtype=np.float32)
    if align_corners:
        source = k * np.float32((size - 1) / (out - 1) if out > 1 else 0)
    else:
        source = (k + np.float32(0.5)) * np.float32(size / out) - np.float32(0.5)
    names, count = np.unique(np.floor(source).astype(np.int64), return_counts=True)
    first = count.cumsum() - count
    pixels = first + np.minimum(np.arange(count.max())[:, None], count - 1)
    inside = source.clip(0)
    share = (inside - np.floor(inside))[pixels]
    low, high = names.clip(0), (names + 1).clip(max=size - 1)
    return Axis(count, low, high, pixels, share)
