"""What `evaluation.py` seldom needs: mistakes, nothing measured, JSON, each image."""

import math
from collections.abc import Collection, Mapping
from numbers import Real
from pathlib import Path
from typing import NoReturn

import numpy as np
from mmengine.dist import all_gather_object
from mmengine.logging import MMLogger
from torch import Tensor


def check_metric(
    unknown: Collection[str], format_only: bool, output_dir: str | None
) -> None:
    """Raise ValueError if options of `IoUMetric` do not fit.

    Args:
        unknown: Names in `iou_metrics` that it does not know.
        format_only, output_dir: See `IoUMetric`.
    """
    if unknown:
        raise ValueError(
            f'iou_metrics has {sorted(unknown)}; known are mIoU, mDice, mFscore.'
        )
    if format_only and output_dir is None:
        raise ValueError(
            'IoUMetric has format_only=True but nowhere to write; set output_dir.'
        )


def refuse_number(found: int, size: int) -> NoReturn:
    """Raise RuntimeError: the processes together did not see each image once."""
    raise RuntimeError(
        f'{found} images were evaluated of a data set of {size}. '
        f'Samplers of several processes must not repeat images: set '
        f'sampler=dict(round_up=False).'
    )


def gathered(of_images: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Return the counts of the images of all processes, in the order of paths."""
    ours = {
        k: counts.cpu().numpy().astype(np.uint32) for k, counts in of_images.items()
    }
    found = {
        k: counts for part in all_gather_object(ours) for k, counts in part.items()
    }
    return dict(sorted(found.items()))


def refuse_other_ids(counted: Tensor, num_classes: int) -> NoReturn:
    """Raise ValueError for ids that are of no class.

    Args:
        counted: (256, 256) pixel counts, [label, prediction].
        num_classes: Classes of the data set.
    """
    found = sorted({int(k) for pair in counted.nonzero() for k in pair})
    raise ValueError(
        f'Labels or predictions have ids outside 0 to {num_classes - 1}, the '
        f'classes of the data set: found {found[0]} to {found[-1]}. Correct '
        f'num_classes or label_map.'
    )


def say_unmeasured(folder: Path | None) -> None:
    """Log why there are no results: only predictions were asked for, or no labels.

    Args:
        folder: Where the predictions are, if only these were asked for.
    """
    text = 'There are no labels here, so nothing was measured.'
    if folder is not None:
        text = f'Predictions are in {folder}; nothing was measured (format_only).'
    MMLogger.get_current_instance().info(text)


def as_json(
    means: Mapping[str, float],
    per_class: Mapping[str, Mapping[str, float]],
    num_images: int,
) -> dict:
    """Return results as JSON can hold them, with None for nan; {} without means."""
    if not means:
        return {}
    rows = {name: without_nan(row) for name, row in per_class.items()}
    return dict(without_nan(means), per_class=rows, num_images=num_images)


def numbers_in(metrics: Mapping[str, object]) -> dict[str, float]:
    """Return the results that are one number; a user's metric may give others, too."""
    return {
        name: float(value)
        for name, value in metrics.items()
        if isinstance(value, Real)
        or (isinstance(value, Tensor | np.ndarray) and len(value.reshape(-1)) == 1)
    }


def without_nan(row: Mapping[str, float]) -> dict[str, float | None]:
    return {name: None if math.isnan(v) else v for name, v in row.items()}
