"""Divide images into training and validation where nothing says which is which."""

import os
import random
import re
from collections.abc import Mapping, Sequence

from mmseg_fastscnn.datasets.annotations.found import Folder, Found
from mmseg_fastscnn.datasets.annotations.places import (
    by_ending,
    named_image,
    split_lists,
)

SHARE = 0.2  # of the images are for validation
GROUPS = 5  # so many groups, none of them most of the images, are kept whole
SEED = 0  # of the choice
BLOCKS = 10  # into so many parts in a row images are divided otherwise


def choose_validation(images: Sequence[str]) -> tuple[set[str], str]:
    """Return the images for validation, and how they were chosen.

    Frames of one video look alike, so they stay together: names that differ in their
    last number only are a group. Where there are too few groups, images that follow
    each other stay together, in blocks.

    Args:
        images: Paths, at least two.
    """
    groups: dict[str, list[str]] = {}
    for image in sorted(images, key=numbers_as_numbers):
        groups.setdefault(prefix(image), []).append(image)
    parts, largest = list(groups.values()), max(map(len, groups.values()))
    if len(parts) >= GROUPS and largest <= len(images) / 2:
        how = f'of {len(parts)} groups with a common beginning of the name'
    else:
        length = max(len(images) // BLOCKS, 1)
        parts = [g[k : k + length] for g in parts for k in range(0, len(g), length)]
        how = f'in blocks of up to {length} images that follow each other by name'
    random.Random(SEED).shuffle(parts)
    wanted = max(round(SHARE * len(images)), 1)
    chosen: set[str] = set()
    for part in parts:
        if len(chosen) + len(part) <= 1.25 * wanted and len(chosen) < wanted:
            chosen |= set(part)
    if not chosen:
        chosen = set(min(parts, key=len))
    return chosen, f'{len(chosen)} of {len(images)} images, {how} (seed {SEED})'


def prefix(image: str) -> str:
    """Return a path without the last number of its name."""
    stem = os.path.splitext(image)[0]
    return re.sub(r'\d+(\D*)$', r'#\1', stem)


def numbers_as_numbers(image: str) -> list:
    """Return a key by which frame 2 comes before frame 10."""
    return [int(p) if p.isdecimal() else p for p in re.split(r'(\d+)', image)]


def give_splits(folder: Folder, found: Found) -> None:
    """Give each pair a split: by lists, by folders, or by choice."""
    if lists := split_lists(folder.files):
        by_lists(folder, found, lists)
    splits = {pair.split for pair in found.pairs}
    if 'train' not in splits and '' not in splits:
        for pair in found.pairs:  # a test or validation set alone: trained on here
            pair.split = ''
    for pair in found.pairs:
        pair.split = pair.split or 'train'
    training = [pair for pair in found.pairs if pair.split == 'train']
    if any(pair.split == 'val' for pair in found.pairs):
        return
    if len(training) < 2:
        found.problems.append(
            f'{folder.root} has {len(training)} images with annotations that can be '
            f'used; one to train on and one to validate with are the least.'
        )
        return
    chosen, how = choose_validation([pair.image for pair in training])
    for pair in training:
        pair.split = 'val' if pair.image in chosen else 'train'
    found.notes.append(f'There is no validation set, so one was chosen: {how}.')


def by_lists(folder: Folder, found: Found, lists: Mapping[str, str]) -> None:
    """Take the splits from text files; images that none of them names are left out."""
    by_name = by_ending(os.path.splitext(pair.image)[0] for pair in found.pairs)
    splits: dict[str, str] = {}
    for split, path in lists.items():
        for line in folder.lines(path):
            words = line, re.split(r'[\s,]', line)[0]  # a label's name may follow
            names = (n for word in words for n in (word, os.path.splitext(word)[0]))
            stems = (named_image(name, by_name, path) for name in names)
            if stem := next(filter(None, stems), None):
                splits[stem] = split
            else:
                found.problems.append(
                    f'{folder.root / path} names {line!r}, and no one image with a '
                    f'label has this name.'
                )
    listed = [p for p in found.pairs if os.path.splitext(p.image)[0] in splits]
    for pair in listed:
        pair.split = splits[os.path.splitext(pair.image)[0]]
    left_out = len(found.pairs) - len(listed)
    found.notes.append(f'Splits as in {", ".join(lists.values())}.')
    if left_out:
        found.left_out.append(f'{left_out} images with labels are in no split.')
    found.pairs = listed
