"""The end of a pipeline for training loops of one's own, with a plain DataLoader."""

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from torch import Tensor

from mmseg_fastscnn.datasets.formatting import channels_first
from mmseg_fastscnn.registry import TRANSFORMS


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
