"""What is unusual in the files of a split, so that it may be a mistake."""

from collections.abc import Iterator, Sequence

import numpy as np

from mmseg_fastscnn.datasets.doctor.dataset_facts import DatasetFacts
from mmseg_fastscnn.datasets.doctor.facts import PairFacts
from mmseg_fastscnn.datasets.doctor.findings import Finding, name_some


def lossy_labels(facts: DatasetFacts) -> Iterator[Finding]:
    """Find labels that are JPEG files."""
    pairs = [pair for pair in facts.pairs if pair.is_lossy]
    if pairs:
        files = [pair.label for pair in pairs]
        yield Finding(
            False,
            f'{facts.name}: {len(pairs)} labels are JPEG files, whose compression '
            f'changes the values at the borders of classes ({name_some(files)}). '
            f'Export them again, as PNG; a converted JPEG keeps its wrong values.',
            files,
            pairs,
        )


def unusual_files(facts: DatasetFacts) -> Iterator[Finding]:
    """Find images that differ from most, EXIF orientations, labels without an image."""
    turned = [pair for pair in facts.pairs if pair.orientation != 1]
    if turned:
        files = [pair.image for pair in turned]
        yield Finding(
            False,
            f'{facts.name}: {len(turned)} images have an EXIF orientation, by which '
            f'viewers turn them; they are read as they are stored, as their labels '
            f'must be ({name_some(files)}). Save them upright, without that entry.',
            files,
            turned,
        )
    usual, *others = [kind for kind, _ in facts.image_kinds.most_common()] or ['']
    pairs = [pair for pair in facts.pairs if pair.kind in others]
    # the same depth and channels in files of several formats are read alike
    if len({kind.rpartition(' ')[0] for kind in (usual, *others)}) > 1:
        files = [pair.image for pair in pairs]
        yield Finding(
            False,
            f'{facts.name}: {len(pairs)} of {facts.total} images are not {usual}: '
            f'{", ".join(others)} ({name_some(files)}). Save all in one form, if they '
            f'should be read alike.',
            files,
            pairs,
        )
    if facts.strays:
        yield Finding(
            False,
            f'{facts.name}: {len(facts.strays)} labels have no image '
            f'({name_some(facts.strays)}), so they are not used. Add the images, or '
            f'remove the labels.',
            facts.strays,
        )


def without_labels(facts: DatasetFacts) -> Iterator[Finding]:
    """Find images that are given without labels, which is for prediction only."""
    pairs = [pair for pair in facts.pairs if pair.label is None]
    if pairs:
        files = [pair.image for pair in pairs]
        yield Finding(
            True,
            f'{facts.name}: {len(pairs)} images have no labels ({name_some(files)}). '
            f'Set data_prefix.seg_map_path to their folder.',
            files,
            pairs,
        )


def normalisation(
    facts: DatasetFacts, mean: Sequence[float], std: Sequence[float]
) -> Iterator[Finding]:
    """Find a mean and deviation that are far from those of the images.

    Those of ImageNet fit most photos well enough; what is found here are values of
    another range, such as 0 to 1, or much darker or brighter images.

    Args:
        facts: Facts about the training images.
        mean: The data preprocessor's, in the order of the files (BGR).
        std: The data preprocessor's, in the same order.
    """
    found = facts.mean_and_std()
    if found is None or len(mean) not in (1, len(found[0])):
        return
    offset = (found[0] - np.array(mean)) / np.array(std)
    spread = found[1] / np.array(std)
    if np.abs(offset).max() > 2 or spread.max() > 3 or spread.max() < 1 / 3:
        values = [f'{np.round(v, 1).tolist()}' for v in (*found, mean, std)]
        yield Finding(
            False,
            f'{facts.name}: the images have the mean {values[0]} and the deviation '
            f'{values[1]} per channel (BGR), model.data_preprocessor {values[2]} and '
            f'{values[3]}: what the network sees would be far from mean 0 and '
            f'deviation 1. Set mean and std to those of the images.',
        )


def repeated_files(facts: DatasetFacts) -> Iterator[Finding]:
    """Find files of one split that have the same content under different names."""
    first: dict[bytes, PairFacts] = {}
    repeated = []
    for pair in facts.pairs:
        same = first.setdefault(pair.look.digest, pair) if pair.look else pair
        if same.image != pair.image:
            repeated.append((same, pair))
    if repeated:
        files = [pair.image for _, pair in repeated]
        yield Finding(
            False,
            f'{facts.name}: {len(repeated)} images have the content of another one '
            f'({files[0]} of {repeated[0][0].image}), so they count more. Remove them.',
            files,
            repeated[0],
        )
