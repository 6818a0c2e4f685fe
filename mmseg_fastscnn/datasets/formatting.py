"""The end of a pipeline: a `results` dict becomes what the model is given.

`PackSegInputs` is for mmengine's runner, `ToImageAndLabel` for loops of one's own with
a plain DataLoader.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.structures import PixelData
from torch import Tensor

from mmseg_fastscnn.registry import TRANSFORMS
from mmseg_fastscnn.structures import SegDataSample


@TRANSFORMS.register_module()
class PackSegInputs(BaseTransform):
    """Return `inputs` (C, H, W) of the image's type, and `data_samples`.

    Args:
        meta_keys: Further keys of `results` to keep as metainfo of the sample, where
            they occur. What prediction needs is always kept.
    """

    META_KEYS = (
        *('img_path', 'seg_map_path', 'rel_path', 'sample_idx', 'raw_ids'),
        *('ori_shape', 'img_shape', 'pad_shape', 'scale_factor'),
        *('flip', 'flip_direction'),
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
        if 'soft_labels' in results:
            soft = results['soft_labels']
            sample.soft_sem_seg = PixelData(data=soft.read(results))
            sample.set_metainfo(dict(soft_temperature=soft.temperature))
        inputs = torch.from_numpy(channels_first(results['img']))
        return dict(inputs=inputs, data_samples=sample)


@TRANSFORMS.register_module()
class ToImageAndLabel(BaseTransform):
    """Return an image and its label as two tensors, instead of `PackSegInputs`.

    The image is (C, H, W) of its own type, RGB if it has three channels; the label is
    (H, W) int64 train ids. `FastSCNN.loss` of the library takes batches of them.
    """

    def transform(self, results: dict) -> tuple[Tensor, Tensor]:
        image = torch.from_numpy(channels_first(results['img']))
        label = torch.from_numpy(results['gt_seg_map'].astype(np.int64))
        return image.flip(0) if len(image) == 3 else image, label


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
