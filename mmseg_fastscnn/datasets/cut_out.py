"""Holes in training images."""

from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform

from mmseg_fastscnn.datasets.geometry import checked_probability, fill_value
from mmseg_fastscnn.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandomCutOut(BaseTransform):
    """Fill random rectangles of the image (DeVries and Taylor, Cutout).

    Args:
        prob: Probability that an image gets holes.
        n_holes: Number of holes, or (fewest, most).
        cutout_shape: (w, h) of a hole in pixels, or several to draw from.
        cutout_ratio: (w, h) of a hole as fractions of the image's, or several to draw
            from; in place of `cutout_shape`.
        fill_in: Value in the holes, one per channel.
        seg_fill_in: Label in the holes; by default the label is left as it is.

    Raises:
        ValueError: An option is out of its range, or `fill_in` does not fit the image.
    """

    def __init__(
        self,
        prob: float,
        n_holes: int | Sequence[int],
        cutout_shape: Sequence | None = None,
        cutout_ratio: Sequence | None = None,
        fill_in: Sequence[float] = (0, 0, 0),
        seg_fill_in: int | None = None,
    ):
        if (cutout_shape is None) == (cutout_ratio is None):
            raise ValueError(
                f'RandomCutOut needs cutout_shape or cutout_ratio, one of the two; '
                f'found cutout_shape={cutout_shape}, cutout_ratio={cutout_ratio}.'
            )
        n_holes = (n_holes, n_holes) if isinstance(n_holes, int) else tuple(n_holes)
        if len(n_holes) != 2 or not 0 <= n_holes[0] <= n_holes[1]:
            raise ValueError(
                f'RandomCutOut: n_holes is {n_holes}; it must be a number, or '
                f'(fewest, most).'
            )
        if seg_fill_in is not None and not 0 <= seg_fill_in <= 255:
            raise ValueError(
                f'RandomCutOut: seg_fill_in is {seg_fill_in}; labels are 0..255.'
            )
        self.prob = checked_probability('RandomCutOut', prob)
        self.n_holes = n_holes
        self.is_ratio = cutout_shape is None
        sizes = cutout_ratio if self.is_ratio else cutout_shape
        self.sizes = sizes if isinstance(sizes[0], Sequence) else [sizes]
        self.fill_in = fill_in
        self.seg_fill_in = seg_fill_in

    def transform(self, results: dict) -> dict:
        if np.random.rand() >= self.prob:
            return results
        value = fill_value('RandomCutOut.fill_in', self.fill_in, results)
        image = results['img'] = results['img'].copy()  # the array may be in use
        label = results.get('gt_seg_map')
        if label is not None and self.seg_fill_in is not None:
            label = results['gt_seg_map'] = label.copy()
        height, width = image.shape[:2]
        fewest, most = self.n_holes
        for _ in range(np.random.randint(fewest, most + 1)):
            x, y = np.random.randint(0, width), np.random.randint(0, height)
            w, h = self.sizes[np.random.randint(0, len(self.sizes))]
            if self.is_ratio:
                w, h = int(w * width), int(h * height)
            image[y : y + h, x : x + w] = value
            if label is not None and self.seg_fill_in is not None:
                label[y : y + h, x : x + w] = self.seg_fill_in
        return results
