"""The random window of a training sample, without resizing or reading the rest."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import mmcv
import numpy as np
from mmcv.transforms import BaseTransform

from mmseg_fastscnn.datasets.loading import LoadAnnotations, LoadImageFromFile
from mmseg_fastscnn.datasets.transforms import RandomCrop, label_to_crop
from mmseg_fastscnn.registry import TRANSFORMS

MARGIN = 32  # output pixels that a window may be begun earlier, to begin on a pixel
CLOSE = 1 / 16  # of an input pixel: how far off that pixel it may be begun


@TRANSFORMS.register_module()
class LoadRandomCrop(BaseTransform):
    """`LoadImageFromFile`, `LoadAnnotations`, `RandomResize`, `RandomCrop` as one step.

    Scale and window are drawn first, with the same draws as by the four; then that
    window alone is resized and, where there is a packed copy, read. The label is the
    same to the pixel; the image's grid may lie up to 1/16 pixel off.

    Args:
        scale: (w, h) that images are fitted into, keeping their ratio of sides.
        ratio_range: Factor on that, drawn from low to high.
        crop_size, cat_max_ratio, ignore_index: See `RandomCrop`.
    """

    def __init__(
        self,
        scale: Sequence[int],
        ratio_range: Sequence[float],
        crop_size: Sequence[int],
        cat_max_ratio: float = 1.0,
        ignore_index: int = 255,
    ):
        self.scale = scale
        self.ratio_range = ratio_range
        self.crop = RandomCrop(crop_size, cat_max_ratio, ignore_index)
        self.steps = [LoadImageFromFile(), LoadAnnotations()]

    def transform(self, results: dict) -> dict:
        if 'packed' in results:
            image, label = results['packed'].read(results)
            results['ori_shape'] = image.shape[:2]
        else:
            for step in self.steps:
                results = step(results)
            image, label = results['img'], label_to_crop(results)
        low, high = self.ratio_range
        ratio = low + (high - low) * np.random.random_sample()
        scale = tuple(int(side * ratio) for side in self.scale)
        height, width = image.shape[:2]
        new_width, new_height = mmcv.rescale_size((width, height), scale)
        y = nearest(height, new_height)
        x = nearest(width, new_width)

        size = (new_height, new_width)
        rows, columns, cut = self.crop.choose(
            size, lambda rows, columns: label[y[rows]].take(x[columns], axis=1)
        )
        results['img'] = resized_window(image, size, rows, columns)
        results['gt_seg_map'] = cut
        results['img_shape'] = results['img'].shape[:2]
        results['scale_factor'] = (new_width / width, new_height / height)
        return results


def nearest(size: int, new_size: int) -> np.ndarray:
    """Which of `size` pixels each of `new_size` is, as `cv2.INTER_NEAREST` has it."""
    step = 1 / (new_size / size)  # not always size / new_size, in the last bit
    return np.minimum((np.arange(new_size) * step).astype(int), size - 1)


def resized_window(
    image: np.ndarray, size: tuple[int, int], rows: slice, columns: slice
) -> np.ndarray:
    """Resize (H, W, C) to `size` (h, w) bilinearly, but only rows and columns given.

    `cv2.resize` starts at a pixel's edge. So the window is begun up to `MARGIN` output
    pixels earlier, where the output's grid comes closest to one of the input's. Where
    that is not close, `cv2.warpAffine` does it, which starts anywhere but is slower.
    """
    y = begin(image.shape[0], size[0], rows)
    x = begin(image.shape[1], size[1], columns)
    if max(y.off, x.off) > CLOSE:
        (top, height), (left, width) = (
            (first, last - first)
            for first, last, _ in (rows.indices(size[0]), columns.indices(size[1]))
        )
        sx, sy = image.shape[1] / size[1], image.shape[0] / size[0]
        to_input = np.array(
            [[sx, 0, (left + 0.5) * sx - 0.5], [0, sy, (top + 0.5) * sy - 0.5]]
        )
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(
            image, to_input, (width, height), None, flags, cv2.BORDER_REPLICATE
        )
    part = image[y.input, x.input]
    factors = [new / old for new, old in zip(size, image.shape, strict=False)]
    if factors != [1, 1]:
        part = cv2.resize(part, None, fx=factors[1], fy=factors[0])
    return part[y.window, x.window]


class Begin(NamedTuple):
    """Where along one axis a window is begun.

    Attributes:
        input: The input pixels that are resized.
        window: The window in what comes out.
        off: How far off its grid is, in input pixels.
    """

    input: slice
    window: slice
    off: float


def begin(size: int, new_size: int, window: slice) -> Begin:
    first, last, _ = window.indices(new_size)
    step = size / new_size
    # from one pixel earlier: the first that comes out is of the edge, not of the image
    earlier = np.arange(min(1, first), min(MARGIN, first) + 1)
    position = (first - earlier) * step
    off = np.abs(position - np.rint(position))
    best = off.argmin()
    start, skip = int(np.rint(position[best])), int(earlier[best])
    stop = min(size, int(np.ceil(last * step)) + 2)
    return Begin(slice(start, stop), slice(skip, skip + last - first), off[best])


def fused(pipeline: Sequence) -> list:
    """Put `LoadRandomCrop` in the place of the four steps where they begin a pipeline.

    A pipeline that begins otherwise, or whose steps have other options, is left alone.
    """
    pipeline = list(pipeline)
    names = ('LoadImageFromFile', 'LoadAnnotations', 'RandomResize', 'RandomCrop')
    steps = [dict(step) for step in pipeline[:4] if isinstance(step, dict)]
    if [step.pop('type', None) for step in steps] != list(names):
        return pipeline
    *loading, resize, crop = steps
    fits = (
        not any(loading)
        and resize.pop('keep_ratio', False) is True
        and resize.keys() == {'scale', 'ratio_range'}
        and not isinstance(resize['scale'][0], Sequence)
    )
    if not fits:
        return pipeline
    return [dict(type='LoadRandomCrop', **resize, **crop), *pipeline[4:]]
