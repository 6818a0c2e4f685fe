"""Scores of single images, from their correct, labelled and predicted pixels."""

from collections.abc import Mapping

import numpy as np
from mmengine.evaluator import Evaluator

from mmseg_fastscnn.evaluation import IoUMetric

HIT, LABELLED = range(2)  # rows of the counts of an image


def metric_of(evaluator: Evaluator) -> IoUMetric | None:
    """Return the metric that counts pixels, if there is one; it counts each image."""
    for metric in evaluator.metrics:
        if isinstance(metric, IoUMetric) and not metric.format_only:
            metric.per_image = True
            return metric
    return None


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
