"""The one type that data, model, metric and picture share."""

from mmengine.structures import BaseDataElement, PixelData


class SegDataSample(BaseDataElement):
    """One image's labels, predictions and facts.

    Attributes (each a `PixelData` whose `.data` has the shape given):
        gt_sem_seg: (1, H, W) uint8 train ids, `ignore_index` where not labelled.
        pred_sem_seg: (1, H, W) uint8 train ids, at the image's original size.
        seg_logits: (C, H, W) float, at the image's original size; only where asked for.

    Metainfo: `img_path`, `seg_map_path`, `rel_path` (below the image folder), `raw_ids`
    (table from train ids to those of the label files), `ori_shape`, `img_shape`,
    `pad_shape`, `scale_factor`, `flip`, `flip_direction`; shapes are (h, w).
    """

    gt_sem_seg: PixelData
    pred_sem_seg: PixelData
    seg_logits: PixelData
