"""Scores of single images, from their correct, labelled and predicted pixels.

Boundary IoU (Cheng et al., CVPR 2021) is the IoU of what lies near outlines: of the
pixels of a class in the label, those within a distance of its outline, and the same of
the prediction. The distance is 2 % of the picture's diagonal, as in the paper, and the
edge of the picture counts as outline.
"""

from collections.abc import Mapping

import cv2
import numpy as np
from mmengine.evaluator import Evaluator

from mmseg_fastscnn.evaluation import IoUMetric
from mmseg_fastscnn.structures import IGNORED

HIT, LABELLED = range(2)  # rows of the counts of an image
SHARE = 0.02  # of the diagonal
OUTSIDE = IGNORED - 1  # an id that borders on every class


def count_each_image(evaluator: Evaluator) -> IoUMetric | None:
    """Make the metric of pixels count each image; return it, if there is one."""
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


def near_outline(seg_map: np.ndarray) -> np.ndarray:
    """Return which pixels are near the outline of their own class, (H, W) bool.

    A pixel is so if there is another id in the square of twice the distance around it.
    """
    distance = max(round(SHARE * float(np.hypot(*seg_map.shape))), 1)
    kernel = np.ones((2 * distance + 1, 2 * distance + 1), np.uint8)
    padded = cv2.copyMakeBorder(seg_map, *[1] * 4, cv2.BORDER_CONSTANT, value=OUTSIDE)
    same = cv2.dilate(padded, kernel) == cv2.erode(padded, kernel)
    return ~same[1:-1, 1:-1]


def boundary_counts(
    label: np.ndarray, pred: np.ndarray, num_classes: int
) -> np.ndarray:
    """Count the correct, labelled and predicted pixels near outlines, (3, C) int64.

    Args:
        label: (H, W) uint8 train ids, or `IGNORED`, where nothing is counted.
        pred: (H, W) uint8 train ids.
        num_classes: C.
    """
    counted = label != IGNORED
    in_label = counted & near_outline(label)
    in_pred = counted & near_outline(pred)
    hit = in_label & in_pred & (label == pred)
    masks = [(label, hit), (label, in_label), (pred, in_pred)]
    return np.stack(
        [
            np.bincount(ids[mask], minlength=num_classes)[:num_classes]
            for ids, mask in masks
        ]
    )
