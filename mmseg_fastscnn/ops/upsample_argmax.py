"""Label map of upsampled logits without holding them.

One interpolation on a GPU is done by a Triton kernel, all else in bands of rows. For
one interpolation on a CPU, `cell_argmax.py` is faster.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from mmseg_fastscnn.ops.bilinear import Upsampling, Window
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
    if window is None:
        before = [tuple(logits.shape[2:]), *sizes]
        sizes = [new for old, new in pairwise(before) if new != old]
        if not sizes:
            return torch.stack([best_class(image) for image in logits])
        if len(sizes) == 1 and logits.is_cuda and triton_works(logits.device):
            from mmseg_fastscnn.ops.upsample_triton import argmax

            return argmax(logits, *sizes, align_corners)
    elif window.size == sizes[-1]:  # nothing is interpolated after the crop
        return window.crop(upsample_argmax(logits, sizes[:1], align_corners))
    up = Upsampling(logits, sizes, align_corners, window)
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
