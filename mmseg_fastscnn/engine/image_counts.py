"""Per image and class: correct, labelled and predicted pixels, taken from `IoUMetric`.

An image's whole confusion matrix would be C times as large, so only the matrix over all
images is kept.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from mmengine.dist import all_gather_object
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from torch import Tensor

from mmseg_fastscnn.evaluation import IoUMetric

HIT, LABELLED, PREDICTED = range(3)  # rows of the counts of an image
Counts = dict[str, np.ndarray]


def metric_of(evaluator: Evaluator) -> IoUMetric | None:
    """Return the metric that counts pixels, if there is one that does."""
    for metric in evaluator.metrics:
        if isinstance(metric, IoUMetric) and not metric.format_only:
            return metric
    return None


class ImageCounts:
    """Collects the pixel counts of the images that a metric has processed.

    Args:
        metric: The metric; from here on it keeps matrices of images.

    Attributes:
        matrix: (C, C) pixel counts, [label, prediction], of all images so far.
        of_images: {relative path: (3, C) counts} with the rows `HIT`, `LABELLED` and
            `PREDICTED`.
    """

    def __init__(self, metric: IoUMetric):
        self.metric = metric
        metric.per_image = True
        classes = len(metric.dataset_meta['classes'])
        self.matrix = np.zeros((classes, classes), np.int64)
        self.of_images: Counts = {}

    def take(self) -> dict[str, Tensor]:
        """Take the matrices of the latest images from the metric, on their device."""
        taken = dict(self.metric.of_images)
        self.metric.of_images.clear()
        return taken

    def add(self, path: str, matrix: Tensor) -> np.ndarray:
        """Count an image; this waits for the device. Return its (3, C) counts."""
        pixels = matrix.cpu().numpy()
        self.matrix += pixels
        counts = np.stack([np.diag(pixels), pixels.sum(1), pixels.sum(0)])
        self.of_images[path] = counts.astype(np.uint32)
        return self.of_images[path]


class ImageCountsHook(Hook):
    """Score each image of a test.

    Attributes:
        scores: What `image_scores` returns, in the order of paths.
        matrix: (C, C) pixel counts, [label, prediction], of all images; None where
            nothing is measured.
    """

    def __init__(self):
        self.scores: dict[str, dict[str, float]] = {}
        self.matrix: np.ndarray | None = None
        self.counts: ImageCounts | None = None

    def before_test_epoch(self, runner) -> None:
        metric = metric_of(runner.test_evaluator)
        self.counts = ImageCounts(metric) if metric is not None else None

    def after_test_iter(
        self, runner, batch_idx: int, data_batch=None, outputs=None
    ) -> None:
        for path, matrix in self.counts.take().items() if self.counts else ():
            self.counts.add(path, matrix)

    def after_test_epoch(self, runner, metrics: dict | None = None) -> None:
        if self.counts is not None:
            self.scores = image_scores(joined(all_gather_object(self.counts.of_images)))
            self.matrix = sum(all_gather_object(self.counts.matrix))


def class_iou(counts: np.ndarray) -> np.ndarray:
    """Return the IoU in percent of each class; nan where it occurs nowhere.

    Args:
        counts: (..., 3, C) correct, labelled and predicted pixels.
    """
    hit, labelled, predicted = np.moveaxis(counts.astype(np.float64), -2, 0)
    with np.errstate(invalid='ignore'):
        return 100 * hit / (labelled + predicted - hit)


def image_iou(counts: np.ndarray) -> float:
    """Return the mean IoU in percent of the classes in an image's label.

    Classes that are only predicted have no IoU of their own in this mean: a single
    pixel would add a zero. They lower that of the classes they were taken from.

    Args:
        counts: (3, C) correct, labelled and predicted pixels.

    Returns:
        The mean; nan where nothing is labelled.
    """
    in_label = counts[LABELLED] > 0
    return float(class_iou(counts)[in_label].mean()) if in_label.any() else float('nan')


def iou_of_image(label: np.ndarray, pred: np.ndarray, num_classes: int) -> float:
    """Return the `image_iou` of an image, from (H, W) uint8 train ids.

    Args:
        label: Ids that are of no class do not count.
        pred: Ids of classes.
        num_classes: C.
    """
    counted = label < num_classes
    label, pred = label[counted], pred[counted]
    parts = (label[label == pred], label, pred)
    counts = [np.bincount(ids, minlength=num_classes) for ids in parts]
    return image_iou(np.stack(counts))


def image_scores(of_images: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Return IoU and accuracy of each image in percent, without unlabelled images."""
    return {
        path: dict(
            IoU=image_iou(counts),
            aAcc=float(100 * counts[HIT].sum() / counts[LABELLED].sum()),
        )
        for path, counts in of_images.items()
        if counts[LABELLED].any()
    }


def joined(parts: Iterable[Counts]) -> Counts:
    """Return the counts of all processes, in the order of paths."""
    return dict(sorted((path, c) for part in parts for path, c in part.items()))


def stacked(of_images: Counts, num_classes: int) -> tuple[Sequence[str], np.ndarray]:
    """Return the paths, and the counts as (N, 3, C)."""
    none = np.zeros((0, 3, num_classes), np.uint32)
    return list(of_images), np.stack(list(of_images.values())) if of_images else none
