"""What mmsegmentation's configs call visualizer, and the picture of a result."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from mmengine.visualization import Visualizer

from mmseg_fastscnn.datasets.picture import read_picture
from mmseg_fastscnn.engine.image_counts import iou_of_image
from mmseg_fastscnn.picture_text import titled, with_legend
from mmseg_fastscnn.pictures import hatched, overlay, panel
from mmseg_fastscnn.registry import VISUALIZERS
from mmseg_fastscnn.structures import SegDataSample


def result_panel(
    sample: SegDataSample, metainfo: Mapping, opacity: float
) -> np.ndarray:
    """Draw image | truth | prediction, or without the truth if there is none.

    Each has a title, the prediction's with the image's IoU (see `image_iou`); the
    classes that occur are named below. What is not labelled has stripes.

    Args:
        sample: A predicted sample; its image is read from `img_path`.
        metainfo: The data set's `classes`, and `palette` with (r, g, b) of each.
        opacity: Opacity of the colours, 0 to 1.

    Returns:
        The picture, (H, W, 3) uint8 BGR.
    """
    image = read_picture(sample.img_path)
    pred = sample.pred_sem_seg.data[0].cpu().numpy()
    maps, title = {'prediction': pred}, 'prediction'
    unlabelled = np.zeros(pred.shape, bool)
    if 'gt_sem_seg' in sample:
        truth = sample.gt_sem_seg.data[0].cpu().numpy()
        iou = iou_of_image(truth, pred, len(metainfo['classes']))
        title = 'prediction' if np.isnan(iou) else f'prediction, IoU {iou:.1f} %'
        unlabelled = truth >= len(metainfo['classes'])
        maps = {'truth': truth, title: pred}
    parts = [titled(image, Path(sample.img_path).name)]
    for name, seg_map in maps.items():
        picture = overlay(image, seg_map, metainfo['palette'], opacity)
        if name == 'truth':
            picture = hatched(picture, unlabelled)
        parts.append(titled(picture, name))
    ids = {int(k) for seg_map in maps.values() for k in np.unique(seg_map)}
    known = [k for k in ids if k < len(metainfo['classes'])]
    return with_legend(panel(parts), metainfo, known, bool(unlabelled.any()))


@VISUALIZERS.register_module()
class SegLocalVisualizer(Visualizer):
    """mmengine's Visualizer with the name and the `alpha` of mmsegmentation's configs.

    Args:
        name: Name of the instance.
        alpha: Opacity of the colours in what `SegVisualizationHook` draws, 0 to 1.
        kwargs: `vis_backends`, `save_dir`.
    """

    def __init__(self, name: str = 'visualizer', alpha: float = 0.8, **kwargs):
        super().__init__(name, **kwargs)
        self.alpha = alpha
