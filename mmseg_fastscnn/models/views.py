"""From an input's logits back to the image that the input was made of."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_fastscnn.ops.bilinear import View, Window
from mmseg_fastscnn.structures import SegDataSample

FLIPPED_DIMS = dict(horizontal=(2,), vertical=(1,), diagonal=(1, 2))


def view_of(logits: Tensor, size: tuple[int, int], sample: SegDataSample) -> View:
    """Say how the coarse logits of an input become those of the image.

    The image may have been padded at the right and at the bottom, by `Pad` in the
    pipeline or by the data preprocessor. So logits are interpolated to the input's
    size, cropped to `img_shape`, and interpolated to `ori_shape`. Those of a flipped
    image are flipped back while they are few, which brings the padding to the other
    side.

    Args:
        logits: (C, h, w).
        size: (H, W) of the input.
        sample: Has `ori_shape`; if it was padded, `pad_shape` and `img_shape`; if it
            was flipped, `flip` and `flip_direction`.

    Raises:
        ValueError: The image was resized or cropped after `Pad`.
    """
    height, width = content_size(sample, size)
    rows, columns = (0, height), (0, width)
    if sample.get('flip', False):
        dims = FLIPPED_DIMS[sample.flip_direction]
        logits = logits.flip(dims)
        rows = (size[0] - height, size[0]) if 1 in dims else rows
        columns = (size[1] - width, size[1]) if 2 in dims else columns
    window = None if (height, width) == size else Window(rows, columns)
    return View(logits, [size, tuple(sample.ori_shape)], window)


def content_size(sample: SegDataSample, size: tuple[int, int]) -> tuple[int, int]:
    """Return the (h, w) of an input, (H, W), that is not padding."""
    if 'pad_shape' not in sample:
        return size
    pad_shape = tuple(sample.pad_shape[:2])
    if pad_shape != size:
        raise ValueError(
            f'The image was padded to {pad_shape} (h, w) and is now {size}, so where '
            f'its padding lies is not known. Have Pad after all steps of the test '
            f'pipeline that change the size.'
        )
    return tuple(sample.img_shape[:2])


def full_size_logits(view: View, align_corners: bool) -> Tensor:
    """Interpolate and crop an image's logits as its view says, (C, H, W)."""
    logits = view.logits[None]
    for k, size in enumerate(view.sizes):
        logits = F.interpolate(
            logits, tuple(size), mode='bilinear', align_corners=align_corners
        )
        if k == 0 and view.window is not None:
            logits = view.window.crop(logits)
    return logits[0]


def with_background(logits: Tensor, threshold: float) -> Tensor:
    """Give one-channel logits a first channel that wins below a threshold.

    The best class of the result, upsampled or not, is 1 where the sigmoid of the
    logit is above the threshold, else 0.

    Args:
        logits: (N, 1, h, w).
        threshold: Between 0 and 1, as heads check.

    Returns:
        (N, 2, h, w).
    """
    bar = torch.full_like(logits, math.log(threshold / (1 - threshold)))
    return torch.cat([bar, logits], dim=1)


def note_padding(
    samples: list[SegDataSample] | None,
    count: int,
    before: tuple[int, int],
    size: tuple[int, int],
) -> list[SegDataSample]:
    """Have the samples of `count` images say that these are padded to `size` (h, w)."""
    if samples is None:
        samples = [SegDataSample(metainfo=dict(ori_shape=before)) for _ in range(count)]
    for sample in samples:
        # the image that Pad has padded before still says where to crop
        image = sample.img_shape if 'pad_shape' in sample else before
        sample.set_metainfo(dict(img_shape=image, pad_shape=size))
    return samples
