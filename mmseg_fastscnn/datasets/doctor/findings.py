"""What is wrong, or may be, in the files of one split."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from mmseg_fastscnn.datasets.doctor.facts import PairFacts
from mmseg_fastscnn.datasets.doctor.reading_lines import reading_map
from mmseg_fastscnn.datasets.doctor.survey import DatasetFacts, sum_counts
from mmseg_fastscnn.datasets.label_errors import shorten

NAMED = 3  # files that a message names at most
TITLES = {
    'image': 'images cannot be read',
    'label': 'labels cannot be read',
    'grid': 'labels do not lie on their images',
}


class Finding(NamedTuple):
    """Something in a run or in its data that does not fit together.

    Attributes:
        stops: Whether the run cannot work like this.
        text: What was found, and what to do.
        files: The files that it is about, if it is about some.
        pairs: Images to show as examples, with their labels.
    """

    stops: bool
    text: str
    files: Sequence[str] = ()
    pairs: Sequence[PairFacts] = ()


def name_some(paths: Sequence[str]) -> str:
    """Return a few of some paths as text, and how many more there are."""
    more = f', ... {len(paths) - NAMED} more' if len(paths) > NAMED else ''
    return ', '.join(paths[:NAMED]) + more


def file_findings(facts: DatasetFacts) -> Iterator[Finding]:
    """Find what keeps training from reading the files that were looked at."""
    for text in facts.missing:
        yield Finding(True, f'{facts.name}: {text}')
    for kind, title in TITLES.items():
        pairs = [pair for pair in facts.pairs if kind in pair.errors]
        if pairs:
            first = pairs[0].errors[kind]
            files = [p.image if kind == 'image' else p.label for p in pairs]
            others = f' Also {name_some(files[1:])}.' if files[1:] else ''
            count = f'{facts.name}: {len(pairs)} of {facts.total} {title}: '
            yield Finding(True, f'{count}{first}{others}', files, pairs)
    yield from unknown_values(facts)


def unknown_values(facts: DatasetFacts) -> Iterator[Finding]:
    """Find ids and colours outside of the label map, with their counts and files."""
    pairs = [pair for pair in facts.pairs if pair.unknown]
    if not pairs:
        return
    files: dict = {}
    for pair in pairs:
        for value in pair.unknown:
            files.setdefault(value, []).append(pair.label)
    pixels = sum_counts(pair.unknown for pair in pairs)
    most = [value for value, _ in pixels.most_common()]
    shown = '; '.join(
        f'{value}: {pixels[value]:,} pixels in {len(files[value])} labels, such as '
        f'{files[value][0]}'
        for value in most[:NAMED]
    )
    more = f'; and {shorten(most[NAMED:])}' if most[NAMED:] else ''
    yield Finding(
        True,
        f'{facts.name}: {len(pairs)} of {facts.total} labels hold values outside of '
        f'label_map. {shown}{more}. {way_to_read(facts, most)}',
        [pair.label for pair in pairs],
        pairs,
    )


def way_to_read(facts: DatasetFacts, unknown: Sequence) -> str:
    """Return the advice for values outside of the label map."""
    values = facts.raw_values
    mapping = reading_map(values, len(facts.classes))
    if mapping and not all_classes_known(facts):
        return (
            f'label_map={mapping} gives each value a class, in the order of the values '
            f'({", ".join(facts.classes)}): correct that order if it is another.'
        )
    if len(unknown) > len(facts.classes):
        return (
            f'{len(values)} different values for {len(facts.classes)} classes: perhaps '
            f'these are not the label files, or they were smoothed or saved as JPEG. '
            f'Correct data_prefix or seg_map_suffix, or save the labels as PNG.'
        )
    extra = ', '.join(f'{value}: 255' for value in unknown)
    return f'Map each to a class in label_map, or to 255 to ignore it ({extra}).'


def all_classes_known(facts: DatasetFacts) -> bool:
    """Return whether the values that are in the label map are of all classes."""
    found = {
        part.label_map.ids.get(value, part.label_map.colours.get(value))
        for part in facts.parts
        for value in facts.raw_values
    }
    return found >= set(range(len(facts.classes)))


def learnable(facts: DatasetFacts) -> Iterator[Finding]:
    """Find files that cannot be read, and classes that do not occur in the labels.

    Args:
        facts: What was seen in as many training labels as there was time for.
    """
    yield from file_findings(facts)
    if not facts.labelled:
        return
    if not facts.classes:
        yield from one_value(facts)
        return
    seen = f'{facts.labelled} {facts.name} labels looked at, of {facts.total}'
    pixels = facts.pixels
    occurring = [name for name, count in pixels.items() if count]
    absent = [name for name, count in pixels.items() if not count]
    if len(occurring) < 2:
        values = shorten([value for value, _ in facts.raw_values.most_common()])
        way = f'The files hold {values}. Correct label_map or metainfo.classes.'
        if facts.suggestion:
            way = (
                f'The files hold 0 and 255, and 255 is ignored: label_map='
                f'{facts.suggestion} reads 255 as {absent[-1]!r}.'
            )
        yield Finding(
            facts.looked_at == facts.total,
            f'There is nothing to tell apart: of the classes {list(pixels)} only '
            f'{occurring} occur in the {seen}. {way}',
            pairs=facts.pairs,
        )
    elif absent:
        yield Finding(False, f'no pixel of {", ".join(absent)} in {seen}.')


def one_value(facts: DatasetFacts) -> Iterator[Finding]:
    """Find labels that all hold the same, where the classes are not known."""
    values = facts.raw_values
    if len(values) == 1:
        yield Finding(
            True,
            f'{facts.name}: all labels hold nothing but {next(iter(values))}, so there '
            f'is nothing to tell apart. Are these the label files?',
            pairs=facts.pairs,
        )


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
    if depth_and_channels(usual, others):
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


def depth_and_channels(usual: str, others: Sequence[str]) -> bool:
    """Return whether kinds differ in more than the format of the files."""
    return any(other.rpartition(' ')[0] != usual.rpartition(' ')[0] for other in others)


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
        facts: Of the training images.
        mean: Of the config's data_preprocessor, in the order of the files (BGR).
        std: The same.
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
