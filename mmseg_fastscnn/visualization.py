"""Pictures of labels. Images are (H, W, 3) uint8 BGR, palettes (r, g, b) per class."""

from collections.abc import Mapping, Sequence

import numpy as np
from mmengine.visualization import Visualizer

from mmseg_fastscnn.datasets.picture import read_picture
from mmseg_fastscnn.registry import VISUALIZERS
from mmseg_fastscnn.structures import SegDataSample

GAP = 4  # pixels of white between the pictures of a panel


def overlay(
    image: np.ndarray,
    seg_map: np.ndarray,
    metainfo: Mapping,
    opacity: float = 0.5,
) -> np.ndarray:
    """Blend the colours of the classes into an image.

    Pixels that are of no class stay as they are.

    Args:
        image: (H, W, 3) uint8 BGR.
        seg_map: (H, W) train ids.
        metainfo: The data set's `classes`, and `palette` with (r, g, b) of each.
        opacity: Opacity of the colours, 0 to 1.

    Returns:
        The picture, (H, W, 3) uint8 BGR; `image` is not changed.

    Raises:
        ValueError: Image and label map differ in size.
    """
    if image.shape[:2] != seg_map.shape:
        raise ValueError(
            f'The image is {image.shape[:2]}, the label map {seg_map.shape} (h, w): '
            f'they are not of one picture.'
        )
    bgr = np.asarray(metainfo['palette'], np.float32)[:, ::-1]
    known = seg_map < len(bgr)
    result = image.copy()
    colours = bgr[seg_map[known]]
    result[known] = np.rint((1 - opacity) * image[known] + opacity * colours)
    return result


def panel(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Put pictures of equal height side by side, as in image | truth | prediction."""
    gap = np.full((pictures[0].shape[0], GAP, 3), 255, np.uint8)
    row = [part for picture in pictures for part in (picture, gap)]
    return np.concatenate(row[:-1], axis=1)


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
    return panel([image, *(overlay(image, m, metainfo, opacity) for m in maps)])


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
