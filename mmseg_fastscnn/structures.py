"""What data, model, metric and picture share: one type, and three numbers."""

from mmengine.structures import BaseDataElement, PixelData
from torch import Tensor

IGNORED = 255  # the train id that no crop, loss, accuracy or metric counts
STRIDE = 8  # pixels of the network's input from one logit to the next
COARSEST = 32  # pixels of a cell of the network's coarsest map


def with_ignored(label: Tensor, ignore_index: int) -> Tensor:
    """Return train ids with `IGNORED` in place of `ignore_index`.

    Args:
        label: Train ids of any shape and integer type.
        ignore_index: A further label that is not counted. With `IGNORED` itself, the
            usual case, `label` is returned as it is.
    """
    if ignore_index == IGNORED:
        return label
    return label.masked_fill(label == ignore_index, IGNORED)


class SegDataSample(BaseDataElement):
    """One image's labels, predictions and facts.

    Attributes (each a `PixelData` whose `.data` has the shape given):
        gt_sem_seg: (1, H, W) uint8 train ids, `IGNORED` where not labelled.
        soft_sem_seg: (C, h, w) float probabilities of a teacher, for each cell of 8x8
            pixels; only where there are soft labels.
        pred_sem_seg: (1, H, W) uint8 train ids, at the image's original size.
        seg_logits: (C, H, W) float, at the image's original size; only where asked for.

    Metainfo: `img_path`, `seg_map_path`, `rel_path` (below the image folder), `raw_ids`
    (table from train ids to those of the label files), `ori_shape`, `img_shape`,
    `pad_shape`, `scale_factor`, `flip`, `flip_direction`, `soft_temperature`; shapes
    are (h, w).
    """

    gt_sem_seg: PixelData
    soft_sem_seg: PixelData
    pred_sem_seg: PixelData
    seg_logits: PixelData
