"""The steps that every pipeline has: load, crop, pack.

A pipeline is a list of these, of those in `geometry.py`, `colour.py`, `cut_out.py` and
`albu.py`, and of mmcv's (`RandomResize`, `RandomApply`, ...). Each changes one
`results` dict: `img` (H, W, C), uint8 BGR by default; `gt_seg_map` (H, W) uint8 train
ids; and facts about them (`img_shape`, `ori_shape`, ..., all (h, w)).
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.structures import PixelData

from mmseg_fastscnn.registry import TRANSFORMS
from mmseg_fastscnn.structures import IGNORED, SegDataSample


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
class PackSegInputs(BaseTransform):
    """The end of a pipeline: `inputs` (C, H, W) of the image's type, `data_samples`.

    Args:
        meta_keys: Further keys of `results` to keep as metainfo of the sample, where
            they occur. What prediction needs is always kept.
    """

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

    def __init__(self, meta_keys: str | Sequence[str] = ()):
        extra = (meta_keys,) if isinstance(meta_keys, str) else tuple(meta_keys)
        self.meta_keys = dict.fromkeys([*self.META_KEYS, *extra])

    def transform(self, results: dict) -> dict:
        meta = {key: results[key] for key in self.meta_keys if key in results}
        sample = SegDataSample(metainfo=meta)
        if 'gt_seg_map' in results:
            label = np.ascontiguousarray(results['gt_seg_map'][None])
            sample.gt_sem_seg = PixelData(data=torch.from_numpy(label))
        inputs = torch.from_numpy(channels_first(results['img']))
        return dict(inputs=inputs, data_samples=sample)


def channels_first(image: np.ndarray) -> np.ndarray:
    """Copy (H, W) or (H, W, C) to (C, H, W)."""
    if image.ndim == 2:
        image = image[..., None]
    height, width, channels = image.shape
    if channels > 4:  # more than OpenCV splits everywhere
        return np.ascontiguousarray(image.transpose(2, 0, 1))
    planes = np.empty((channels, height, width), image.dtype)
    cv2.split(image, list(planes))  # takes a fraction of the time of a transposition
    return planes
