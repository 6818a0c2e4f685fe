"""Class weights that balance a data set: count the pixels of its labels, then weigh."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from mmengine.dataset import ClassBalancedDataset, RepeatDataset
from torch.utils.data import ConcatDataset, Dataset

from mmseg_fastscnn.datasets.label_errors import histogram


def class_pixel_counts(
    dataset: Dataset, part: int = 0, parts: int = 1, threads: int = 1
) -> np.ndarray:
    """Count the labelled pixels of each class over all label files of a data set.

    Args:
        dataset: A data set of this package, or a wrapper of mmengine around some. A
            label that a wrapper repeats counts that often.
        part: Which share of the labels to count, 0 to `parts - 1`; the counts of all
            shares add up to those of the data set.
        parts: Number of shares.
        threads: How many files are read at once.

    Returns:
        (2, num_classes) int64: pixels of each class, and labelled pixels of the images
        in which the class occurs.
    """
    classes = len(dataset.metainfo['classes'])
    times = Counter(samples(dataset))
    mine = list(times)[part::parts]

    def count(sample: tuple[Dataset, int]) -> np.ndarray:
        pixels = histogram(label_of(*sample))
        pixels[sample[0].ignore_index] = 0
        pixels = pixels[:classes]
        return times[sample] * np.stack([pixels, (pixels > 0) * pixels.sum()])

    total = np.zeros((2, classes), np.int64)
    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(count, mine), total)


def samples(dataset: Dataset) -> list[tuple[Dataset, int]]:
    """Return (data set of files, index in it) of each sample, also of wrappers."""
    if isinstance(dataset, ConcatDataset):
        return [sample for part in dataset.datasets for sample in samples(part)]
    if isinstance(dataset, RepeatDataset):
        return dataset.times * samples(dataset.dataset)
    if isinstance(dataset, ClassBalancedDataset):
        inner = samples(dataset.dataset)
        return [inner[k] for k in dataset.repeat_indices]
    return [(dataset, k) for k in range(len(dataset))]


def label_of(dataset: Dataset, index: int) -> np.ndarray:
    """Read one label of a data set: (H, W) uint8 train ids.

    Raises:
        ValueError: The data set has no label for that image, or cannot read it alone.
    """
    label = dataset.read_label(index) if hasattr(dataset, 'read_label') else None
    if label is None:
        raise ValueError(
            f'{type(dataset).__name__} has no label file for sample {index}, so the '
            f'pixels of its classes cannot be counted. Give class_weight as a list.'
        )
    return label


def enet(pixels: np.ndarray, of_images: np.ndarray) -> np.ndarray:
    """1 / ln(1.02 + share of all pixels) (https://arxiv.org/abs/1606.02147)."""
    return 1 / np.log(1.02 + pixels / pixels.sum())


def median_frequency(pixels: np.ndarray, of_images: np.ndarray) -> np.ndarray:
    """Median frequency / frequency, a class's share of pixels of the images with it.

    As in Eigen and Fergus (https://arxiv.org/abs/1411.4734), but only labelled pixels
    count.
    """
    frequency = pixels / of_images
    return np.median(frequency) / frequency


def fourth_root(pixels: np.ndarray, _: np.ndarray) -> np.ndarray:
    """(1 / share of all pixels) ** 0.25, scaled to a mean of 1 over the pixels.

    Much milder than the other forms; docs/recipes.md has what it gave on CamVid.
    """
    share = pixels / pixels.sum()
    weights = share**-0.25
    return weights / (weights * share).sum()


# 'auto' is ENet's form, because it is bounded: 1.4 to 50, however rare a class is.
FORMS = {
    'auto': enet,
    'enet': enet,
    'median_frequency': median_frequency,
    'fourth_root': fourth_root,
}


def check_form(form: str) -> None:
    """Raise ValueError if there is no such way to weigh classes."""
    if form not in FORMS:
        raise ValueError(
            f'class_weight is {form!r}; it must be one value per class, a .npy or '
            f'.json file of these, or one of {", ".join(FORMS)}.'
        )


def balanced_weights(counts: np.ndarray, form: str) -> np.ndarray:
    """Return one factor per class, (num_classes,) float64; 1 where none has pixels.

    Args:
        counts: See `class_pixel_counts`.
        form: A name in `FORMS`.
    """
    check_form(form)
    weights = np.ones(counts.shape[1])
    found = counts[0] > 0
    weights[found] = FORMS[form](*counts[:, found].astype(np.float64))
    return weights
