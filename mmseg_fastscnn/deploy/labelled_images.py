"""Images with their labels, for measuring what a file loses and for calibrating it."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor

from mmseg_fastscnn.config import require
from mmseg_fastscnn.datasets.random_crop import load_pair
from mmseg_fastscnn.deploy.backends import Predictor
from mmseg_fastscnn.evaluation import class_ratios, count_pairs
from mmseg_fastscnn.registry import DATASETS
from mmseg_fastscnn.structures import IGNORED


class LabelledImages:
    """Images of a config's data set as the files hold them, spread evenly over it.

    They are read anew at each iteration: hundreds of large ones do not fit into memory.

    Args:
        config: The config.
        loader: 'train_dataloader' or 'test_dataloader'.
        count: How many images; all of them if there are fewer.
        purpose: What they are for, in the message if the config has no such loader.
    """

    def __init__(self, config: Config, loader: str, count: int, purpose: str):
        require(config, [loader], purpose)
        self.dataset = DATASETS.build(config[loader].dataset)
        count = min(count, len(self.dataset))
        self.indices = np.linspace(0, len(self.dataset) - 1, count).astype(int)

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """Yield frames (H, W, C) uint8 with their labels (H, W) uint8, or None.

        What the data set ignores is `IGNORED`.
        """
        for k in self.indices:
            results = load_pair(self.dataset.get_data_info(int(k)))
            label = results.get('gt_seg_map')
            if label is not None and results['label_map'].ignore_index != IGNORED:
                ignored = label == results['label_map'].ignore_index
                label = np.where(ignored, np.uint8(IGNORED), label)
            yield results['img'], label


def miou_of(
    predictor: Predictor, images: Iterable[tuple[np.ndarray, np.ndarray | None]]
) -> float:
    """Return a predictor's mIoU on images, in percent.

    Raises:
        ValueError: An image has no label.
    """
    classes = len(predictor.classes)
    counts = torch.zeros(classes, classes, dtype=torch.int64)
    for frame, label in images:
        if label is None:
            raise ValueError(
                'The data set has no labels, which mIoU needs: set seg_map_path in its '
                'data_prefix.'
            )
        both = torch.from_numpy(label), torch.from_numpy(predictor(frame))
        counts += count_pairs(*both)[:classes, :classes]
    return mean_iou(counts)


def mean_iou(counts: Tensor) -> float:
    """Return mIoU in percent, from pixel counts [label, prediction]."""
    return float(np.nanmean(class_ratios(counts.double().numpy())[0]['IoU']))
