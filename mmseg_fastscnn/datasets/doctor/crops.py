"""The window that training cuts out of images, and whether the images fill it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import mmcv
import numpy as np
from mmcv.transforms import RandomResize
from mmengine.utils import is_tuple_of

from mmseg_fastscnn.datasets.doctor.dataset_facts import DatasetFacts
from mmseg_fastscnn.datasets.doctor.findings import Finding
from mmseg_fastscnn.datasets.parts import parts_of, steps_of
from mmseg_fastscnn.datasets.random_crop import LoadRandomCrop, RandomCrop
from mmseg_fastscnn.datasets.test_pipeline import RESIZING

PADDED = 0.1  # share of a crop that may be padding, on average over the images


class View(NamedTuple):
    """How a pipeline makes a crop of an image.

    Attributes:
        crop: (h, w).
        scale: (w, h) that images are resized to, times a random factor; None where they
            keep their size.
    """

    crop: tuple[int, int]
    scale: tuple[int, int] | None


def crops_of(dataset: object) -> set[tuple[int, int]]:
    """Return every crop size of the training pipelines, (h, w)."""
    result = set()
    for part in parts_of(dataset):
        for step in steps_of(part):
            # our RandomCrop keeps the size itself, a fused step keeps a RandomCrop
            crop = getattr(getattr(step, 'crop', step), 'crop_size', None)
            if isinstance(crop, list | tuple):
                result.add(tuple(crop))
    return result


def view_of(dataset: object) -> View | None:
    """Return scale and crop of a pipeline; None if it crops or resizes otherwise."""
    scale = None
    for step in steps_of(dataset):
        if isinstance(step, LoadRandomCrop):
            return View(step.crop.crop_size, tuple(step.scale))
        if isinstance(step, RandomCrop):
            return View(step.crop_size, scale)
        if isinstance(step, RandomResize) and is_tuple_of(step.scale, int):
            scale = step.scale
        elif type(step).__name__ in RESIZING:
            return None
    return None


def smaller_than_crop(facts: DatasetFacts) -> Iterator[Finding]:
    """Find images that leave much of the crop empty, resized by a factor of 1."""
    for number, part in enumerate(facts.parts):
        view = view_of(part)
        pairs = [pair for pair in facts.pairs if pair.part == number and pair.size]
        if view is None or not pairs:
            continue
        shares = [padding(pair.size, view) for pair in pairs]
        if np.mean(shares) > PADDED:
            padded = [pair for pair, share in zip(pairs, shares, strict=True) if share]
            sizes = sizes_line(Counter(pair.size for pair in padded))
            resized, larger = '', ''
            if view.scale:
                resized = f', also when resized to {view.scale} (w, h)'
                larger = ', or scale larger'
            yield Finding(
                False,
                f'{facts.name}: {100 * np.mean(shares):.0f} % of the crops of '
                f'{view.crop} (h, w) would be padding: {len(padded)} of {len(pairs)} '
                f'images are smaller, {sizes}{resized}. Make crop_size '
                f'smaller{larger}.',
                [pair.image for pair in padded],
                padded,
            )


def padding(size: tuple[int, int], view: View) -> float:
    """Return the share of a crop that an image of (h, w) does not fill."""
    height, width = size
    if view.scale is not None:
        width, height = mmcv.rescale_size((width, height), view.scale)
    filled = [
        min(n / crop, 1) for n, crop in zip((height, width), view.crop, strict=True)
    ]
    return 1 - filled[0] * filled[1]


def sizes_line(sizes: Counter) -> str:
    """Describe the sizes of images, the most frequent ones first."""
    most: Sequence = sizes.most_common(3)
    shown = ', '.join(f'{h}x{w}' for (h, w), _ in most)
    more = f' and {len(sizes) - 3} other sizes' if len(sizes) > 3 else ''
    return f'{shown}{more} (h x w)'
