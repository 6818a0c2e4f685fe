"""The label map of logits that are interpolated several times. NumPy.

As `cell_argmax.py`, which is faster for one interpolation, it leaves out what cannot be
the best. Here it does so in tiles: in each, a class whose highest logit is under the
lowest one of another class is left out. The others, a few, take two small matrix
products, whatever the number of steps.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from mmseg_fastscnn.ops.cell_argmax import best_class, cell_argmax
from mmseg_fastscnn.ops.interpolated import axis_matrix

TILE = (64, 128)  # (h, w) of the output: smaller ones cost Python, larger ones classes


class Part(NamedTuple):
    """One axis of a tile.

    Attributes:
        made: Which output pixels.
        read: Which input pixels they are made of.
        weights: (made, read).
    """

    made: slice
    read: slice
    weights: np.ndarray


def interpolated_argmax(
    logits: np.ndarray, sizes: Sequence[tuple[int, int]], align_corners: bool = False
) -> np.ndarray:
    """Do what `tile_argmax` does, in the way that is fastest for the sizes.

    A step that keeps the size changes nothing, and is left out.
    """
    steps = [b for a, b in pairwise([logits.shape[1:], *sizes]) if a != b]
    if not steps:
        return best_class(logits)
    if len(steps) == 1:
        return cell_argmax(logits, *steps, align_corners)
    return tile_argmax(logits, steps, align_corners)


def tile_argmax(
    logits: np.ndarray, sizes: Sequence[tuple[int, int]], align_corners: bool = False
) -> np.ndarray:
    """Return the best class of each pixel of bilinearly interpolated logits.

    Args:
        logits: (C, h, w) float32, with at most 256 classes.
        sizes: (H, W) of each interpolation, one after the other.
        align_corners: As in `torch.nn.functional.interpolate`.

    Returns:
        (H, W) uint8 of the last size.
    """
    heights, widths = zip(logits.shape[1:], *sizes, strict=True)
    columns = axis_parts(widths, TILE[1], align_corners)
    label = np.empty(sizes[-1], np.uint8)
    for y in axis_parts(heights, TILE[0], align_corners):
        band = logits[:, y.read]
        lowest, highest = band.min(1), band.max(1)  # (C, w)
        for x in columns:
            bar = lowest[:, x.read].min(1).max()
            possible = ~(highest[:, x.read].max(1) < bar)  # all where logits are NaN
            kinds = possible.nonzero()[0].astype(np.uint8)
            place = label[y.made, x.made]
            if len(kinds) == 1:
                place[:] = kinds[0]
                continue
            scores = y.weights @ band[kinds, :, x.read] @ x.weights.T
            place[:] = kinds[best_class(scores)]
    return label


@lru_cache(maxsize=64)
def axis_parts(sizes: tuple[int, ...], most: int, align_corners: bool) -> list[Part]:
    """Divide interpolations along one axis into parts of at most `most` pixels."""
    weights = axis_matrix(sizes, align_corners)
    parts, count = [], -(-sizes[-1] // most)
    edges = [sizes[-1] * k // count for k in range(count + 1)]
    for made in map(slice, edges, edges[1:]):
        used = weights[made].any(0).nonzero()[0]
        read = slice(used[0], used[-1] + 1)
        parts.append(Part(made, read, np.ascontiguousarray(weights[made, read])))
    return parts
