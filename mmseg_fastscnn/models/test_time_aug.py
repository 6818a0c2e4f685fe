"""ms+flip: predict several views of an image and average their probabilities."""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseTTAModel
from mmengine.structures import PixelData
from torch import Tensor

from mmseg_fastscnn.ops.bilinear import View
from mmseg_fastscnn.ops.mean_softmax import mean_softmax
from mmseg_fastscnn.ops.upsample_argmax import best_class
from mmseg_fastscnn.registry import MODELS
from mmseg_fastscnn.structures import SegDataSample


@MODELS.register_module()
class SegTTAModel(BaseTTAModel):
    """Wrap a segmentor for the views of mmcv's `TestTimeAug` transform.

    The softmax of each view's logits, or their sigmoid where there is one channel, is
    averaged at the image's size, unflipped and without padding. Of each view only the
    coarse logits are held (with `mode='slide'`, those at its size); see
    `ops/mean_softmax.py`. Views are predicted one after the other: on CPUs two in a
    batch take as long and more memory.
    """

    def test_step(
        self, data: dict, with_probability: bool = False
    ) -> list[SegDataSample]:
        """Return each image's first view with `pred_sem_seg` of all its views.

        Args:
            data: `inputs` and `data_samples`, each a list of views of lists of images.
            with_probability: Add `seg_logits`, here the mean probability (C, H, W) at
                `ori_shape`.
        """
        images = list(zip(*self._views(data), strict=True))
        return self.merge_preds(images, with_probability)

    def _views(self, data: dict) -> list[list[tuple[SegDataSample, View]]]:
        """Predict view after view: a list of views of lists of images.

        The largest is the first: what the others need fits into what it leaves.
        """
        result = [None] * len(data['inputs'])
        pixels = [images[0].numel() for images in data['inputs']]
        for k in sorted(range(len(pixels)), key=pixels.__getitem__, reverse=True):
            batch = self.module.data_preprocessor(
                {key: views[k] for key, views in data.items()}
            )
            inputs, samples = batch['inputs'], batch['data_samples']
            coarse = self.module.coarse_logits(inputs)
            views = self.module.views(coarse, tuple(inputs.shape[2:]), samples)
            result[k] = list(zip(samples, views, strict=True))
        return result

    def merge_preds(
        self,
        data_samples_list: list[Sequence[tuple[SegDataSample, View]]],
        with_probability: bool = False,
    ) -> list[SegDataSample]:
        """Merge each image's views into its first sample; see `test_step`."""
        merged = []
        for image in data_samples_list:
            (sample, *_), views = zip(*image, strict=True)
            labels, probabilities = [], []
            for mean in self._mean_probabilities(views):
                labels.append(self._best(mean))
                if with_probability:
                    probabilities.append(mean)
            sample.pred_sem_seg = PixelData(data=torch.cat(labels)[None])
            if with_probability:
                sample.seg_logits = PixelData(data=torch.cat(probabilities, dim=1))
            merged.append(sample)
        return merged

    def _mean_probabilities(self, views: Sequence[View]) -> Iterator[Tensor]:
        """Yield (C, rows, W) for band after band of an image; C is `out_channels`."""
        binary = self.module.out_channels == 1
        if binary:  # the sigmoid of z is the second softmax of (0, z)
            views = [
                view._replace(logits=F.pad(view.logits, (0, 0, 0, 0, 1, 0)))
                for view in views
            ]
        for _, mean in mean_softmax(views, self.module.align_corners):
            yield mean[1:] if binary else mean

    def _best(self, probability: Tensor) -> Tensor:
        """Return labels (rows, W) uint8 of probabilities (C, rows, W)."""
        if self.module.out_channels == 1:
            return (probability[0] > self.module.decode_head.threshold).byte()
        return best_class(probability)
