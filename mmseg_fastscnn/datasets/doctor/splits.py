"""What is wrong, or may be, between the splits: images, videos and classes in two."""

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping

from torch.utils.data import Dataset

from mmseg_fastscnn.datasets.doctor.copies import find_copies, find_equal_files
from mmseg_fastscnn.datasets.doctor.dataset_facts import DatasetFacts
from mmseg_fastscnn.datasets.doctor.facts import PairFacts
from mmseg_fastscnn.datasets.doctor.findings import Finding, name_some
from mmseg_fastscnn.datasets.doctor.videos import moments_apart, shared_videos
from mmseg_fastscnn.datasets.parts import infos_of, parts_of

ADVICE = 'Scores on images that were trained on are too high; keep them in one split.'


def between_splits(facts: Mapping[str, DatasetFacts]) -> Iterator[Finding]:
    """Compare the splits, each with each."""
    for split in facts.values():
        yield from different_parts(split)
    for first, second in itertools.combinations(facts.values(), 2):
        yield from different_classes(first, second)
        copied = set()
        for finding in in_two_splits(first, second):
            copied.update(finding.files)
            yield finding
        yield from videos_in_two_splits(first, second, copied)
    yield from classes_in_one_split(facts)


def different_parts(facts: DatasetFacts) -> Iterator[Finding]:
    """Find data sets of one split that do not have the same classes."""
    parts = facts.parts
    classes = list(dict.fromkeys(tuple(part.metainfo['classes']) for part in parts))
    if len(classes) > 1:
        yield Finding(
            facts.name != 'test',
            f'{facts.name}: one of its data sets has the classes {list(classes[0])}, '
            f'another {list(classes[1])}. Give all the same metainfo.',
        )


def different_classes(first: DatasetFacts, second: DatasetFacts) -> Iterator[Finding]:
    """Find splits that do not have the same classes in the same order."""
    if first.classes and second.classes and first.classes != second.classes:
        yield Finding(
            second.name != 'test',
            f'{first.name} has the classes {first.classes}, {second.name} '
            f'{second.classes}. Give both the same metainfo.',
        )


def in_two_splits(first: DatasetFacts, second: DatasetFacts) -> Iterator[Finding]:
    """Find images of the second split that are also in the first, also as copies."""
    copies = list(find_copies(first.pairs, second.pairs))
    if not copies:
        return
    kinds = Counter(copy.how for copy in copies)
    ways = ', '.join(f'{count} as {how}' for how, count in kinds.most_common())
    same = [f'{copy.second.image} is {copy.first.image}' for copy in copies]
    yield Finding(
        False,
        f'{len(copies)} of {second.total} images of {second.name} are also in '
        f'{first.name} ({ways}): {name_some(same, "; ")}. {ADVICE}',
        [copy.second.image for copy in copies],
        [pair for copy in copies for pair in (copy.first, copy.second)],
    )


def videos_in_two_splits(
    first: DatasetFacts, second: DatasetFacts, copied: set[str]
) -> Iterator[Finding]:
    """Find frames of one video in both splits, by their names or by what they show.

    Args:
        first, second: The splits.
        copied: Images of the second split that are copies, and so not said again.
    """
    others = [pair for pair in second.pairs if pair.image not in copied]
    for video in shared_videos(first.pairs, others):
        nearest = [pair.image for pair in video.nearest]
        yield Finding(
            False,
            f'{video.counts[0]} images of {first.name} and {video.counts[1]} of '
            f'{second.name} seem to be frames of one video, {video.prefix}*, the '
            f'nearest {video.gap} numbers apart ({", ".join(nearest)}). {ADVICE}',
            nearest,
            video.nearest,
        )
    alike = moments_apart(first.pairs, others)
    if alike:
        moments = [f'{two.image} and {one.image}' for one, two in alike]
        yield Finding(
            False,
            f'{len(alike)} of {second.total} images of {second.name} look much like an '
            f'image of {first.name}, as a moment before or after it: '
            f'{name_some(moments, "; ")}. {ADVICE}',
            [two.image for _, two in alike],
            [pair for both in alike for pair in both],
        )


def classes_in_one_split(facts: Mapping[str, DatasetFacts]) -> Iterator[Finding]:
    """Find classes that occur in no split, or in some and not in others."""
    pixels = {name: f.pixels for name, f in facts.items() if f.labelled and f.classes}
    nowhere = []
    for name in dict.fromkeys(itertools.chain(*pixels.values())):
        having = [split for split, counts in pixels.items() if counts.get(name)]
        missing = [split for split in pixels if split not in having]
        if not having:
            nowhere.append(name)
        elif missing:
            effect = 'learnt' if 'train' in missing else 'measured'
            yield Finding(
                False,
                f'{name} occurs in {", ".join(having)} and not in '
                f'{", ".join(missing)}: it cannot be {effect}.',
                pairs=examples_of(name, facts[having[0]]),
            )
    if nowhere:
        yield Finding(
            False, f'no pixel of {", ".join(nowhere)} in {" or ".join(pixels)}.'
        )


def examples_of(name: str, facts: DatasetFacts) -> list[PairFacts]:
    """Return the images with a class, those with most of it first."""
    pairs = [pair for pair in facts.pairs if (pair.pixels or {}).get(name)]
    return sorted(pairs, key=lambda pair: pair.pixels[name], reverse=True)


def equal_files(
    training: Dataset, validation: Dataset, seconds: float
) -> Iterator[Finding]:
    """Find validation images that are training images: the same file, or equal files.

    Args:
        training, validation: Data sets, or wrappers of mmengine around some.
        seconds: After how long to stop comparing.
    """
    found = list(
        find_equal_files(image_paths(training), image_paths(validation), seconds)
    )
    if found:
        total = sum(len(part) for part in parts_of(validation))
        same = [f'{second} is {first}' for first, second in found]
        copies = [second for _, second in found]
        yield Finding(
            False,
            f'{len(found)} of {total} validation images are training images, too '
            f'({name_some(same, "; ")}). {ADVICE}',
            copies,
        )


def image_paths(dataset: Dataset) -> Iterator[str]:
    return (info['img_path'] for info in infos_of(dataset) if 'img_path' in info)
