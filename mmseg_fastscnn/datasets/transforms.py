"""What mmcv does not already have for images with labels.

A pipeline is a list of these and of mmcv's (`Resize`, `RandomResize`, `TestTimeAug`,
...), each changing one `results` dict: `img` (H, W, 3) uint8 BGR,
`gt_seg_map` (H, W) uint8 train ids, and facts about them.
"""

from collections.abc import Callable, Sequence

import cv2
import mmcv
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmcv.transforms import RandomFlip as RandomFlipOfMMCV
from mmengine.structures import PixelData

from mmseg_fastscnn.registry import TRANSFORMS
from mmseg_fastscnn.structures import SegDataSample

IDENTITY = np.arange(256, dtype=np.uint8)


@TRANSFORMS.register_module()
class RandomCrop(BaseTransform):
    """Cut a random window out of image and label.

    Args:
        crop_size: (h, w). A smaller image is kept whole that way; the data
            preprocessor pads it.
        cat_max_ratio: If under 1, up to 10 windows are drawn until one has no class
            with a larger share of its labelled pixels, and more than one class.
        ignore_index: The label that is not labelled.
    """

    TRIES = 10

    def __init__(
        self,
        crop_size: Sequence[int],
        cat_max_ratio: float = 1.0,
        ignore_index: int = 255,
    ):
        self.crop_size = tuple(crop_size)
        self.cat_max_ratio = cat_max_ratio
        self.ignore_index = ignore_index

    def transform(self, results: dict) -> dict:
        image, label = results['img'], label_to_crop(results)
        rows, columns, cut = self.choose(image.shape, lambda *window: label[window])
        results['img'] = image[rows, columns]
        results['gt_seg_map'] = cut
        results['img_shape'] = results['img'].shape[:2]
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
        starts = [
            np.random.randint(0, max(length - crop, 0) + 1)
            for length, crop in zip(shape[:2], self.crop_size, strict=True)
        ]
        return tuple(
            slice(start, start + crop)
            for start, crop in zip(starts, self.crop_size, strict=True)
        )

    def _is_mixed(self, label: np.ndarray) -> bool:
        # np.bincount takes three times as long
        count = cv2.calcHist([label], [0], None, [256], [0, 256])
        count[self.ignore_index] = 0
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
class RandomFlip(RandomFlipOfMMCV):
    """mmcv's, written out: its views read from the right slow down all that follows."""

    WAYS = {'vertical': 0, 'horizontal': 1, 'diagonal': -1}

    def transform(self, results: dict) -> dict:
        results = super().transform(results)
        if results['flip']:
            direction = results['flip_direction']
            for key in ('img', 'gt_seg_map'):
                if results.get(key) is not None:
                    unflipped = mmcv.imflip(results[key], direction)  # a view, again
                    results[key] = cv2.flip(unflipped, self.WAYS[direction])
        return results


@TRANSFORMS.register_module()
class PhotoMetricDistortion(BaseTransform):
    """Change brightness, contrast, saturation and hue, each with probability 1/2.

    Contrast comes before or after the two of colour, at random (Liu et al., SSD).
    Values are cut to 0..255 after each change. As they are 8-bit, all changes are made
    to tables of 256 values, and the image is looked up in these.

    Args:
        brightness_delta: Added, drawn from -delta to delta.
        contrast_range: Factor, drawn from low to high.
        saturation_range: Likewise, on S of HSV.
        hue_delta: Added to H in degrees / 2, drawn from -delta to delta - 1.
    """

    def __init__(
        self,
        brightness_delta: int = 32,
        contrast_range: Sequence[float] = (0.5, 1.5),
        saturation_range: Sequence[float] = (0.5, 1.5),
        hue_delta: int = 18,
    ):
        self.brightness_delta = brightness_delta
        self.contrast_range = contrast_range
        self.saturation_range = saturation_range
        self.hue_delta = hue_delta

    def transform(self, results: dict) -> dict:
        before = after = IDENTITY
        if coin():
            delta = self.brightness_delta
            before = linear(before, 1, np.random.uniform(-delta, delta))
        contrast_first = coin()
        if contrast_first:
            before = self._contrast(before)
        tables = self._colour()
        if not contrast_first:
            after = self._contrast(after)
        image = results['img'].astype(np.uint8, copy=False)  # of to_float32, too
        if tables:
            hsv = cv2.cvtColor(look_up(image, before), cv2.COLOR_BGR2HSV)
            channels = list(cv2.split(hsv))
            for k, table in tables.items():
                channels[k] = cv2.LUT(channels[k], table)
            image = cv2.cvtColor(cv2.merge(channels), cv2.COLOR_HSV2BGR)
            image = look_up(image, after)
        else:
            image = look_up(image, after[before])
        results['img'] = image
        return results

    def _contrast(self, table: np.ndarray) -> np.ndarray:
        if coin():
            table = linear(table, np.random.uniform(*self.contrast_range), 0)
        return table

    def _colour(self) -> dict[int, np.ndarray]:
        """Return tables for channels of HSV, those that change."""
        tables = {}
        new_saturation, new_hue = coin(), coin()
        if new_saturation:
            factor = np.random.uniform(*self.saturation_range)
            tables[1] = linear(IDENTITY, factor, 0)
        if new_hue:
            shift = np.random.randint(-self.hue_delta, self.hue_delta)
            tables[0] = ((IDENTITY.astype(np.int16) + shift) % 180).astype(np.uint8)
        return tables


def coin() -> bool:
    return bool(np.random.randint(2))


def linear(table: np.ndarray, factor: float, offset: float) -> np.ndarray:
    """Return factor * table + offset, cut to 0..255, as uint8."""
    return (table.astype(np.float32) * factor + offset).clip(0, 255).astype(np.uint8)


def look_up(image: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Replace each value of a uint8 image by the table's."""
    return image if table is IDENTITY else cv2.LUT(image, table)


@TRANSFORMS.register_module()
class PackSegInputs(BaseTransform):
    """The end of a pipeline: `inputs` (C, H, W) uint8 and `data_samples`."""

    META_KEYS = (
        'img_path',
        'seg_map_path',
        'rel_path',
        'raw_ids',
        'ori_shape',
        'img_shape',
        'pad_shape',
        'scale_factor',
        'flip',
        'flip_direction',
        'sample_idx',
    )

    def transform(self, results: dict) -> dict:
        image = results['img']
        if image.ndim == 2:
            image = image[..., None]
        planes = np.empty((image.shape[2], *image.shape[:2]), image.dtype)
        cv2.split(image, list(planes))
        image = torch.from_numpy(planes)
        meta = {key: results[key] for key in self.META_KEYS if key in results}
        sample = SegDataSample(metainfo=meta)
        if 'gt_seg_map' in results:
            label = np.ascontiguousarray(results['gt_seg_map'][None])
            sample.gt_sem_seg = PixelData(data=torch.from_numpy(label))
        return dict(inputs=image, data_samples=sample)
