"""ms+flip: predict several views of an image and average their probabilities."""

from mmengine.model import BaseTTAModel
from mmengine.structures import PixelData

from mmseg_fastscnn.registry import MODELS
from mmseg_fastscnn.structures import SegDataSample


@MODELS.register_module()
class SegTTAModel(BaseTTAModel):
    """Wrap a segmentor for the views of mmcv's `TestTimeAug` transform.

    Each view's logits come back at the original size and unflipped (see
    `EncoderDecoder.predict`); their softmax is averaged.
    """

    def merge_preds(
        self, data_samples_list: list[list[SegDataSample]]
    ) -> list[SegDataSample]:
        """Merge each image's views into its first sample.

        `seg_logits` of the result holds the mean probability, (C, H, W).
        """
        return [self._merge(views) for views in data_samples_list]

    def _merge(self, views: list[SegDataSample]) -> SegDataSample:
        total = sum(view.seg_logits.data.softmax(0) for view in views)
        merged = views[0]
        merged.seg_logits = PixelData(data=total / len(views))
        merged.pred_sem_seg = PixelData(data=total.argmax(0, keepdim=True))
        return merged
