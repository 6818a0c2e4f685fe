"""Find the same picture in two splits: the file, or re-encoded, resized or mirrored.

A picture is reduced to 32 x 32 grey values. The signs of their 143 lowest DCT
coefficients are its hash. Pictures, also mirrored ones, whose hashes are close are
compared value by value. On CamVid's frames, JPEG of quality 25 to 95, WebP and sizes of
a quarter to double change 99 % of the values by at most 4 of 255, while neighbours in
the video differ by 9 or more. Of pictures that were made smaller than 128 pixels, or
resized without interpolation, only some are found.
"""

import filecmp
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from mmseg_fastscnn.datasets.doctor.facts import PairFacts

LOWEST = 12  # side of the square of DCT coefficients
SAME_HASH = 0.8  # of the signs agree, less those that do not: 9 of 10 signs
SAME_PICTURE = 7.5  # of 255: what 99 % of the grey values differ by at most
MIRRORED = {  # codes of cv2.flip
    'mirrored left to right': 1,
    'mirrored upside down': 0,
    'turned by 180 degrees': -1,
}


class Copy(NamedTuple):
    """A picture that stands in two splits.

    Attributes:
        first, second: The two.
        how: 'the same file', 'equal files' or 'the same picture', perhaps mirrored.
    """

    first: PairFacts
    second: PairFacts
    how: str


def hashes(greys: Sequence[np.ndarray]) -> np.ndarray:
    """Return the hash of each `small_grey`, (N, 143) float32 of length 1.

    The product of two is 1 if all signs agree and about 0 for pictures that have
    nothing to do with each other. That of an empty picture is all 0: like no other.
    """
    result = np.zeros((len(greys), LOWEST**2 - 1), np.float32)
    for row, grey in zip(result, greys, strict=True):
        frequencies = cv2.dct(grey.astype(np.float32))[:LOWEST, :LOWEST]
        signs = np.sign(np.where(np.abs(frequencies) > 1, frequencies, 0))
        row[:] = signs.ravel()[1:]  # without the mean
    return result / np.maximum(np.linalg.norm(result, axis=1, keepdims=True), 1)


def find_copies(
    firsts: Sequence[PairFacts], seconds: Sequence[PairFacts]
) -> Iterator[Copy]:
    """Yield one `Copy` for each picture of `seconds` that is also one of `firsts`."""
    firsts, seconds = looked_at(firsts), looked_at(seconds)
    paths = {os.path.realpath(pair.image): pair for pair in firsts}
    digests = {pair.look.digest: pair for pair in firsts}
    others = []
    for second in seconds:
        if first := paths.get(os.path.realpath(second.image)):
            yield Copy(first, second, 'the same file')
        elif first := digests.get(second.look.digest):
            yield Copy(first, second, 'equal files')
        else:
            others.append(second)
    yield from find_pictures(firsts, others)


def looked_at(pairs: Sequence[PairFacts]) -> list[PairFacts]:
    return [pair for pair in pairs if pair.look is not None]


def find_pictures(
    firsts: Sequence[PairFacts], seconds: Sequence[PairFacts]
) -> Iterator[Copy]:
    """Yield the pictures of `seconds` that are in `firsts` as other files."""
    known = hashes([pair.look.grey for pair in firsts])
    for second in seconds:
        found, grey = [], second.look.grey
        views = {how: cv2.flip(grey, code) for how, code in MIRRORED.items()}
        for how, view in {'': grey, **views}.items():
            likeness = known @ hashes([view])[0]
            for k in np.flatnonzero(likeness >= SAME_HASH):
                found.append((difference(firsts[k].look.grey, view), how, firsts[k]))
        apart, how, first = min(found, key=lambda one: one[0], default=(256, '', None))
        if apart <= SAME_PICTURE:
            text = f'the same picture, {how}' if how else 'the same picture'
            yield Copy(first, second, text)


def difference(first: np.ndarray, second: np.ndarray) -> float:
    """Return what 99 % of the values of two pictures differ by at most."""
    return float(np.percentile(cv2.absdiff(first, second), 99))


def find_equal_files(
    firsts: Iterable[str], seconds: Iterable[str], time_limit: float
) -> Iterator[tuple[str, str]]:
    """Yield pairs of paths to the same file, or to files of the same content.

    Nothing is decoded, and files are only read if their sizes are equal. So this is for
    the start of a run; `find_copies` finds more.

    Args:
        firsts, seconds: Paths of two splits. Those that do not exist are passed over.
        time_limit: Seconds after which no more files are compared. Half of them may
            go by listing the first split.
    """
    start = time.monotonic()
    by_size: dict[int, list[str]] = {}
    for path in firsts:
        if time.monotonic() > start + time_limit / 2:
            break
        if os.path.isfile(path):
            by_size.setdefault(os.path.getsize(path), []).append(path)
    for second in seconds:
        if time.monotonic() > start + time_limit:
            return
        size = os.path.getsize(second) if os.path.isfile(second) else -1
        for first in by_size.get(size, ()):
            if filecmp.cmp(first, second, shallow=False):
                yield first, second
                break
            if time.monotonic() > start + time_limit:
                return
