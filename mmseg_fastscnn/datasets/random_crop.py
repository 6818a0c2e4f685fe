"""The random window of a training sample.

`RandomCrop` cuts it out of image and label. `LoadRandomCrop` takes the place of the
four steps up to there, and neither resizes nor reads what lies outside of the window.
"""

from collections.abc import Callable, Sequence

import cv2
import mmcv
import numpy as np
from mmcv.transforms import BaseTransform

from mmseg_fastscnn.datasets.geometry import GROUP, channelwise, warped_window
from mmseg_fastscnn.datasets.loading import LoadAnnotations, LoadImageFromFile
from mmseg_fastscnn.registry import TRANSFORMS
from mmseg_fastscnn.structures import IGNORED

MARGIN = 32  # output pixels that a window may start earlier, to start on a pixel
CLOSE = 1 / 16  # of an input pixel: how far off that pixel the start may be
LOADING = (LoadImageFromFile(), LoadAnnotations())


@TRANSFORMS.register_module()
class RandomCrop(BaseTransform):
    """Cut a random window out of image and label.

    Args:
        crop_size: (h, w). A smaller image is kept whole that way; the data
            preprocessor pads it.
        cat_max_ratio: If under 1, up to 10 windows are drawn until one has no class
            with a larger share of its labelled pixels, and more than one class.
        ignore_index: A label that is not counted there, besides `IGNORED`.
    """

    TRIES = 10

    def __init__(
        self,
        crop_size: Sequence[int],
        cat_max_ratio: float = 1.0,
        ignore_index: int = IGNORED,
    ):
        self.crop_size = tuple(crop_size)
        self.cat_max_ratio = cat_max_ratio
        self.ignore_index = ignore_index

    def transform(self, results: dict) -> dict:
        image, label = results['img'], label_to_crop(results)
        rows, columns, cropped = self.choose(image.shape, lambda *window: label[window])
        results['img'] = image[rows, columns]
        results['gt_seg_map'] = cropped
        results['img_shape'] = results['img'].shape[:2]
        results['crop_start'] = (rows.start, columns.start)
        return results

    def choose(
        self, shape: Sequence[int], label_of: Callable[[slice, slice], np.ndarray]
    ) -> tuple[slice, slice, np.ndarray]:
        """Draw a window: its rows, its columns, and the label there.

        Args:
            shape: (h, w, ...) of the image.
            label_of: Gives the label of a window.
        """
        for _ in range(self.TRIES if self.cat_max_ratio < 1 else 0):
            window = self._window(shape)
            label = label_of(*window)
            if self._is_mixed(label):
                return *window, label
        window = self._window(shape)
        return *window, label_of(*window)

    def _window(self, shape: Sequence[int]) -> tuple[slice, slice]:
        window = []
        for length, crop in zip(shape[:2], self.crop_size, strict=True):
            start = np.random.randint(0, max(length - crop, 0) + 1)
            window.append(slice(start, start + crop))
        return tuple(window)

    def _is_mixed(self, label: np.ndarray) -> bool:
        # np.bincount takes three times as long
        count = cv2.calcHist([label], [0], None, [256], [0, 256])
        count[[IGNORED, self.ignore_index]] = 0
        return np.count_nonzero(count) > 1 and (
            count.max() / count.sum() < self.cat_max_ratio
        )


def label_to_crop(results: dict) -> np.ndarray:
    """Return `gt_seg_map`; ValueError if the image has none."""
    if 'gt_seg_map' not in results:
        raise ValueError(
            f'{results["img_path"]} has no label to crop with it. Set '
            f'data_prefix.seg_map_path, and LoadAnnotations before RandomCrop.'
        )
    return results['gt_seg_map']


@TRANSFORMS.register_module()
class LoadRandomCrop(BaseTransform):
    """`LoadImageFromFile`, `LoadAnnotations`, `RandomResize`, `RandomCrop` as one step.

    Scale and window are drawn first, with the same draws as by the four; then that
    window alone is resized and, where there is a packed copy, read. The label is the
    same to the pixel; the image's grid may lie up to 1/16 pixel off.

    Args:
        scale: (w, h) that images are fitted into, keeping their aspect ratio.
        ratio_range: The factor on `scale` is drawn from low to high.
        crop_size, cat_max_ratio, ignore_index: See `RandomCrop`.
    """

    def __init__(
        self,
        scale: Sequence[int],
        ratio_range: Sequence[float],
        crop_size: Sequence[int],
        cat_max_ratio: float = 1.0,
        ignore_index: int = IGNORED,
    ):
        self.scale = scale
        self.ratio_range = ratio_range
        self.crop = RandomCrop(crop_size, cat_max_ratio, ignore_index)

    def transform(self, results: dict) -> dict:
        if 'packed' in results:
            image, label = results['packed'].read(results)
            results['ori_shape'] = image.shape[:2]
        else:
            results = load_pair(results)
            image, label = results['img'], label_to_crop(results)
        height, width = image.shape[:2]
        size = new_height, new_width = self._scaled_size(height, width)
        y, x = nearest(height, new_height), nearest(width, new_width)
        rows, columns, cropped = self.crop.choose(
            size, lambda rows, columns: label[y[rows]].take(x[columns], axis=1)
        )
        results['img'] = resized_window(image, size, rows, columns)
        results['gt_seg_map'] = cropped
        results['img_shape'] = results['img'].shape[:2]
        results['crop_start'] = (rows.start, columns.start)
        results['scale_factor'] = (new_width / width, new_height / height)
        return results

    def _scaled_size(self, height: int, width: int) -> tuple[int, int]:
        """Draw the (h, w) that an image is resized to."""
        low, high = self.ratio_range
        ratio = low + (high - low) * np.random.random_sample()
        scale = tuple(int(side * ratio) for side in self.scale)
        return mmcv.rescale_size((width, height), scale)[::-1]


def load_pair(results: dict) -> dict:
    """Load image and label as by the two steps with their default options."""
    for step in LOADING:
        results = step(results)
    return results


def nearest(size: int, new_size: int) -> np.ndarray:
    """For each of `new_size` pixels, its source of `size`, as `cv2.INTER_NEAREST`."""
    step = 1 / (new_size / size)  # not always size / new_size, in the last bit
    return np.minimum((np.arange(new_size) * step).astype(int), size - 1)


def resized_window(
    image: np.ndarray, size: tuple[int, int], rows: slice, columns: slice
) -> np.ndarray:
    """Resize (H, W, C) to `size` (h, w) bilinearly, but only rows and columns given.

    `cv2.resize` starts at the edge of a pixel. So the window starts up to `MARGIN`
    output pixels earlier, where the output's grid comes closest to one of the input's.
    In the few cases where none is close, `warped_window` does it.
    """
    if image.ndim == 3 and image.shape[2] > GROUP:
        return channelwise(lambda p: resized_window(p, size, rows, columns), image)
    y, rows_of_result, y_off = window_start(image.shape[0], size[0], rows)
    x, columns_of_result, x_off = window_start(image.shape[1], size[1], columns)
    if max(y_off, x_off) > CLOSE:
        return warped_window(image, size, rows, columns)
    part = image[y, x]
    fy, fx = (new / old for new, old in zip(size, image.shape, strict=False))
    if (fy, fx) != (1, 1):
        part = cv2.resize(part, None, fx=fx, fy=fy)
    return part[rows_of_result, columns_of_result]


def window_start(size: int, new_size: int, window: slice) -> tuple[slice, slice, float]:
    """Find where to start, along one axis that is resized from `size` to `new_size`.

    Returns:
        The input pixels to resize, the window in the result, and how far the two grids
        are apart, in input pixels.
    """
    first, last, _ = window.indices(new_size)
    step = size / new_size
    # at least one pixel earlier: what comes out first is of the edge, not of the image
    earlier = np.arange(min(1, first), min(MARGIN, first) + 1)
    position = (first - earlier) * step
    off = np.abs(position - np.rint(position))
    best = off.argmin()
    start, skip = int(np.rint(position[best])), int(earlier[best])
    stop = min(size, int(np.ceil(last * step)) + 2)
    return slice(start, stop), slice(skip, skip + last - first), off[best]
