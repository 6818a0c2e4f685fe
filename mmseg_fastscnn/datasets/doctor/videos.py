"""Find frames of one video in two splits, by their names and by what they show."""

import itertools
import os
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from mmseg_fastscnn.datasets.doctor.copies import hashes, looked_at
from mmseg_fastscnn.datasets.doctor.facts import PairFacts

# Products of hashes. Of CamVid's frames from different videos, none is above 0.42; 1/15
# second apart 99 % are above 0.73, a third of a second about half above 0.63, a second
# half above 0.35.
MOMENTS_APART, IN_ONE_VIDEO = 0.7, 0.25
LEAST = 5  # steps from frame to frame that tell a video from photos with numbers


class Frame(NamedTuple):
    """An image whose name ends in a number."""

    number: int
    split: int  # 0 or 1
    pair: PairFacts


class SharedVideo(NamedTuple):
    """A video with frames in two splits.

    Attributes:
        prefix: What the names of its frames begin with.
        counts: Number of frames in each split.
        gap: Smallest difference of two numbers across the splits.
        nearest: The two frames that are so far apart.
    """

    prefix: str
    counts: tuple[int, int]
    gap: int
    nearest: tuple[PairFacts, PairFacts]


def shared_videos(
    firsts: Sequence[PairFacts], seconds: Sequence[PairFacts]
) -> Iterator[SharedVideo]:
    """Find names with a common prefix and a number, as those of frames, in two splits.

    That photos are numbered alone does not make them a video: most images must look
    like the next number's image, whichever split that is in.
    """
    series: dict[str, list[Frame]] = {}
    for split, pairs in enumerate((firsts, seconds)):
        for pair in looked_at(pairs):
            stem = os.path.splitext(os.path.basename(pair.image))[0]
            if match := re.search(r'(\d+)\D*$', stem):
                frame = Frame(int(match[1]), split, pair)
                series.setdefault(stem[: match.start()], []).append(frame)
    for prefix, frames in series.items():
        frames.sort(key=lambda frame: frame.number)
        counts = tuple(
            sum(frame.split == split for frame in frames) for split in (0, 1)
        )
        if min(counts) and len(frames) > LEAST and is_video(frames):
            gap, *nearest = nearest_frames(frames)
            yield SharedVideo(prefix, counts, gap, tuple(nearest))


def is_video(frames: list[Frame]) -> bool:
    """Return whether most frames, in order, look like the next one."""
    known = hashes([frame.pair.look.grey for frame in frames])
    return float(np.median((known[1:] * known[:-1]).sum(1))) >= IN_ONE_VIDEO


def nearest_frames(frames: list[Frame]) -> tuple[int, PairFacts, PairFacts]:
    """Return the smallest gap across the splits, and the frames on both sides of it."""
    gaps = (
        (abs(one.number - other.number), *sorted((one, other), key=lambda f: f.split))
        for one, other in itertools.pairwise(frames)
        if one.split != other.split
    )
    gap, first, second = min(gaps, key=lambda found: found[0])
    return gap, first.pair, second.pair


def moments_apart(
    firsts: Sequence[PairFacts], seconds: Sequence[PairFacts]
) -> list[tuple[PairFacts, PairFacts]]:
    """Return pairs of images, of `firsts` and `seconds`, that show the same scene.

    A copy is one, too; `copies.find_copies` finds those.
    """
    firsts, seconds = looked_at(firsts), looked_at(seconds)
    if not firsts:
        return []
    known, result = hashes([pair.look.grey for pair in firsts]), []
    for second in seconds:
        likeness = known @ hashes([second.look.grey])[0]
        best = int(likeness.argmax())
        if likeness[best] >= MOMENTS_APART:
            result.append((firsts[best], second))
    return result
