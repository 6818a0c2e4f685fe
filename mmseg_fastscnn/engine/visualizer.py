"""What mmsegmentation's configs call visualizer, and the picture of a result."""

from collections.abc import Mapping

import numpy as np
from mmengine.visualization import Visualizer

from mmseg_fastscnn.datasets.picture import read_picture
from mmseg_fastscnn.pictures import overlay, panel
from mmseg_fastscnn.registry import VISUALIZERS
from mmseg_fastscnn.structures import SegDataSample


def result_panel(
    sample: SegDataSample, metainfo: Mapping, opacity: float
) -> np.ndarray:
    """Draw image | truth | prediction, or without the truth if there is none.

    Args:
        sample: A predicted sample; its image is read from `img_path`.
        metainfo: The data set's `classes`, and `palette` with (r, g, b) of each.
        opacity: Opacity of the colours, 0 to 1.

    Returns:
        The picture, (H, W, 3) uint8 BGR.
    """
    image = read_picture(sample.img_path)
    seg_maps = [sample.pred_sem_seg]
    if 'gt_sem_seg' in sample:
        seg_maps.insert(0, sample.gt_sem_seg)
    maps = [seg_map.data[0].cpu().numpy() for seg_map in seg_maps]
    palette = metainfo['palette']
    return panel([image, *(overlay(image, m, palette, opacity) for m in maps)])


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
