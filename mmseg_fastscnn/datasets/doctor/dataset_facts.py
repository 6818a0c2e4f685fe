"""What was found in the files of a split, added up."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from mmseg_fastscnn.datasets.doctor.facts import PairFacts
from mmseg_fastscnn.datasets.parts import Part


@dataclass
class DatasetFacts:
    """What was found in the files of a split, which may be of several data sets.

    Attributes:
        name: What messages call it: 'training' at the start of a run, else 'train', ...
        parts: The data sets of files in it.
        total: Its images, without repetitions.
        pairs: Facts about each image that was looked at, and its label.
        missing: Messages about what its folders or split file lack.
        strays: Labels without an image.
        skipped: Data sets that could not be looked at, and why.
    """

    name: str = 'training'
    parts: list[Part] = field(default_factory=list)
    total: int = 0
    pairs: list[PairFacts] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    @property
    def looked_at(self) -> int:
        return len(self.pairs)

    @property
    def labelled(self) -> int:
        """Number of labels that could be read."""
        return sum(pair.pixels is not None for pair in self.pairs)

    @property
    def classes(self) -> list[str]:
        """Names of all classes."""
        known = [part.metainfo['classes'] for part in self.parts]
        return list(dict.fromkeys(name for names in known for name in names))

    @property
    def pixels(self) -> dict[str, int]:
        """Class name -> pixels in the labels; 0 for one that does not occur."""
        total = dict.fromkeys(self.classes, 0)
        for pair in self.pairs:
            for name, count in (pair.pixels or {}).items():
                total[name] += count
        return total

    @property
    def absent(self) -> list[str]:
        """Names of the classes that occur in no label that was read."""
        return [name for name, count in self.pixels.items() if count == 0]

    @property
    def ignored(self) -> int:
        return sum(pair.ignored for pair in self.pairs)

    @property
    def raw_values(self) -> Counter:
        """Raw id, or colour (r, g, b) of a colour label -> pixels."""
        return sum_counts(pair.values for pair in self.pairs)

    @property
    def image_kinds(self) -> Counter:
        """How many images there are of each kind, such as 'uint16 x 1 PNG'."""
        readable = [pair for pair in self.pairs if 'image' not in pair.errors]
        return Counter(pair.kind or 'unknown' for pair in readable)

    @property
    def sizes(self) -> Counter:
        """How many images there are of each size (h, w)."""
        return Counter(pair.size for pair in self.pairs if pair.size)

    @property
    def orientations(self) -> Counter:
        """How many images there are of each EXIF orientation other than 1."""
        found = (pair.orientation for pair in self.pairs)
        return Counter(orientation for orientation in found if orientation != 1)

    @property
    def suggestion(self) -> dict[int, int] | None:
        """A `label_map` for masks of 0 and 255 that are read as one class.

        255 is ignored unless `label_map` says otherwise, so a mask whose foreground is
        255 has no foreground to learn.
        """
        two_values = self.raw_values.keys() <= {0, 255, (0, 0, 0), (255, 255, 255)}
        lacks_one = len(self.classes) == 2 and self.absent
        return {0: 0, 255: 1} if two_values and lacks_one and self.ignored else None

    def class_counts(self) -> np.ndarray:
        """Return what `class_weights.balanced_weights` takes, each image once."""
        names = self.classes
        counts = np.zeros((2, len(names)), np.int64)
        for pair in self.pairs:
            pixels = np.array([(pair.pixels or {}).get(name, 0) for name in names])
            counts += np.stack([pixels, (pixels > 0) * pixels.sum()]).astype(np.int64)
        return counts

    def mean_and_std(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Return mean and standard deviation per channel, as read (BGR).

        Of images with as many channels as most; None if none was decoded.
        """
        looks = [(pair.look.sums, pair.size) for pair in self.pairs if pair.look]
        if not looks:
            return None
        channels = Counter(sums.shape[1] for sums, _ in looks).most_common(1)[0][0]
        looks = [look for look in looks if look[0].shape[1] == channels]
        total, squares = sum(sums for sums, _ in looks) / sum(
            h * w for _, (h, w) in looks
        )
        return total, np.sqrt(np.maximum(squares - total**2, 0))


def sum_counts(counts) -> Counter:
    total: Counter = Counter()
    for one in counts:
        total.update(one)
    return total
