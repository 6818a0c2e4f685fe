"""Label map of upsampled logits without holding them.

Bilinear weights are not negative and sum to 1. So where the four logits around a cell
have the same best class, that class is the best everywhere in the cell, and only cells
whose corners differ, the outlines of things, need interpolating: some percent of a
street. Exact, but for ties within float32's rounding.
"""

from collections.abc import Sequence
from functools import reduce
from itertools import pairwise

import torch
from torch import Tensor

from mmseg_fastscnn.ops import host
from mmseg_fastscnn.ops.bilinear import BAND_VALUES, Upsampling, Window, axis_cells
from mmseg_fastscnn.ops.has_triton import triton_works


def upsample_argmax(
    logits: Tensor,
    sizes: Sequence[Sequence[int]],
    align_corners: bool = False,
    window: Window | None = None,
) -> Tensor:
    """Return the best class of each pixel of interpolated logits, (N, H, W) uint8.

    Args:
        logits: (N, C, h, w), with at most 256 classes.
        sizes: (h, w) to interpolate to, one after the other; the last is the result's.
        align_corners: Passed to every interpolation.
        window: What is kept of the first of these; see `View`.
    """
    logits, sizes = logits.detach().float(), [tuple(size) for size in sizes]
    if window is not None:
        if window.size == sizes[-1]:  # nothing is interpolated after the crop
            return window.crop(upsample_argmax(logits, sizes[:1], align_corners))
        up = Upsampling(logits, sizes, align_corners, window)
        return torch.stack([in_bands(image, up) for image in logits])
    before = [tuple(logits.shape[2:]), *sizes]
    steps = [new for old, new in pairwise(before) if new != old]
    if not steps:
        return torch.stack([best_class(image) for image in logits])
    only_one = len(steps) == 1
    if only_one and logits.is_cuda and triton_works(logits.device):
        from mmseg_fastscnn.ops.upsample_triton import argmax

        return argmax(logits, *steps, align_corners)
    if only_one and logits.device.type == host.HOST:  # it reads which cells are mixed
        cells = [in_cells(t, *steps, align_corners) for t in logits.contiguous()]
        return torch.stack(cells)
    up = Upsampling(logits, steps, align_corners)
    return torch.stack([in_bands(image, up) for image in logits])


def best_class(scores: Tensor) -> Tensor:
    """Return the first best of (C, ...) scores, uint8; faster than `argmax(0)`."""
    scores = scores.detach()
    best = scores[0].clone()
    label = torch.zeros_like(best, dtype=torch.uint8)
    for k, score in enumerate(scores[1:], start=1):
        label.masked_fill_(score > best, k)
        torch.maximum(best, score, out=best)
    return label


def in_bands(image: Tensor, up: Upsampling) -> Tensor:
    """Interpolate everything, a band at a time: (C, h, w) to (H, W)."""
    wide = up.widen(image)
    parts = [best_class(band.weights @ wide[:, band.source]) for band in up.bands]
    return torch.cat(parts)


def in_cells(image: Tensor, size: tuple[int, int], align_corners: bool) -> Tensor:
    """Interpolate where corners differ: logits (C, h, w) to labels (H, W).

    How many cells and candidates there are is read several times, so this form is for
    tensors whose values Python can read without waiting.
    """
    y, x = (
        axis_cells(before, after, align_corners, image.device)
        for before, after in zip(image.shape[1:], size, strict=True)
    )
    winner = best_class(image)
    first, *others = (
        winner[rows][:, columns]
        for rows in (y.low, y.high)
        for columns in (x.low, x.high)
    )
    mixed = torch.stack([corner != first for corner in others]).any(0)
    label = first[:, x.cell][y.cell]

    per_cell = len(y.pixels) * len(x.pixels)
    at_once = max(1, BAND_VALUES['cpu'] // per_cell)
    for cells in mixed.nonzero().split(at_once) if mixed.any() else ():
        ky, kx = cells.T
        corners = [
            image[:, rows, columns]  # (C, cells)
            for rows in (y.low[ky], y.high[ky])
            for columns in (x.low[kx], x.high[kx])
        ]
        order, ranks = candidates(corners)
        ky, kx = ky[order], kx[order]
        down, right = y.share[:, None, ky], x.share[:, kx]
        found = best_in_cells(corners, order, ranks, down, right)
        label[y.pixels[:, None, ky], x.pixels[:, kx]] = found
    return label


def candidates(corners: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Find the classes that can be the best somewhere in a cell.

    A class whose best corner is under the worst corner of another cannot, which leaves
    two or three of them to interpolate.

    Args:
        corners: Logits (C, cells): top left, top right, bottom left, bottom right.

    Returns:
        The cells, those with the most candidates first; and the first candidate of
        each, the second of those that have two, and so on.
    """
    lowest = reduce(torch.minimum, corners).amax(0)
    possible = (reduce(torch.maximum, corners) >= lowest).T
    classes = possible.nonzero()[:, 1]  # of the first cell, then of the second, ...
    count = possible.sum(1)
    start = count.cumsum(0) - count
    count, order = count.sort(descending=True)
    start = start[order]
    most = int(count[0])
    having = [int((count > k).sum()) for k in range(most)]
    return order, [classes[start[:n] + k] for k, n in enumerate(having)]


def best_in_cells(
    corners: list[Tensor],
    order: Tensor,
    ranks: list[Tensor],
    down: Tensor,
    right: Tensor,
) -> Tensor:
    """Return the best class of every pixel of some cells, (rows, columns, cells).

    Args:
        corners: See `candidates`.
        order, ranks: What it returns.
        down: How far down in its cell each pixel is, (rows, 1, cells), in that order.
        right: How far right, (columns, cells).
    """
    best = found = None
    for classes in ranks:
        some = (..., slice(len(classes)))
        at = [corner[classes, order[some]] for corner in corners]
        x, y = right[some], down[some]
        top, bottom = at[0] * (1 - x) + at[1] * x, at[2] * (1 - x) + at[3] * x
        score = top * (1 - y) + bottom * y
        label = classes.byte().expand_as(score)
        if best is None:
            best, found = score, label.clone()
            continue
        found[some] = torch.where(score > best[some], label, found[some])
        best[some] = torch.maximum(score, best[some])
    return found
