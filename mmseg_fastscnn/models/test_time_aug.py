"""ms+flip: predict several views of an image and average their probabilities."""

from collections.abc import Sequence

import torch
from mmengine.model import BaseTTAModel
from mmengine.structures import PixelData

from mmseg_fastscnn.models.segmentor import flipped_back
from mmseg_fastscnn.ops.mean_softmax import View, mean_softmax
from mmseg_fastscnn.ops.upsample_argmax import best_class
from mmseg_fastscnn.registry import MODELS
from mmseg_fastscnn.structures import SegDataSample


@MODELS.register_module()
class SegTTAModel(BaseTTAModel):
    """Wrap a segmentor for the views of mmcv's `TestTimeAug` transform.

    The softmax of each view's logits, at the image's size and unflipped, is averaged.
    Of each view only the coarse logits are held (with `mode='slide'`, those at its
    size); see `ops/mean_softmax.py`. Views are predicted one after the other: on CPUs
    two in a batch take as long and more memory.
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
            samples = data['data_samples'][k]
            batch = dict(inputs=data['inputs'][k], data_samples=samples)
            inputs = self.module.data_preprocessor(batch)['inputs']
            coarse = self.module.coarse_logits(inputs)
            result[k] = [
                (
                    sample,
                    View(
                        flipped_back(logits, sample),
                        [inputs.shape[2:], sample.ori_shape],
                    ),
                )
                for logits, sample in zip(coarse, samples, strict=True)
            ]
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
            for _, mean in mean_softmax(views, self.module.align_corners):
                labels.append(best_class(mean))
                if with_probability:
                    probabilities.append(mean)
            sample.pred_sem_seg = PixelData(data=torch.cat(labels)[None])
            if with_probability:
                sample.seg_logits = PixelData(data=torch.cat(probabilities, dim=1))
            merged.append(sample)
        return merged
