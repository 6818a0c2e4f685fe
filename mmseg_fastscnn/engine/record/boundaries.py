"""Boundary IoU: how well the outlines of classes are met (Cheng et al., CVPR 2021).

It is the IoU of what lies near outlines: of the pixels of a class in the label, those
within a distance of its outline, and the same of the prediction. The distance is 2 % of
the picture's diagonal, as in the paper, and the edge of the picture counts as outline.
"""

import cv2
import numpy as np

from mmseg_fastscnn.structures import IGNORED

SHARE = 0.02  # of the diagonal
OUTSIDE = IGNORED - 1  # an id that borders on every class


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
