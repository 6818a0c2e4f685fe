"""The facts about a data set: of a sample in limited time, or of all its files."""

import multiprocessing
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field

import cv2
import numpy as np

from mmseg_fastscnn.datasets.doctor.facts import PairFacts, Part, look_at
from mmseg_fastscnn.datasets.doctor.listing import (
    list_samples,
    sample_of,
    stray_labels,
)
from mmseg_fastscnn.datasets.doctor.reading_lines import suggest_label_map
from mmseg_fastscnn.datasets.seg_dataset import SegDataset
from mmseg_fastscnn.datasets.torchvision_dataset import TorchvisionDataset


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
    def label_palettes(self) -> int:
        """Number of labels with a palette."""
        return sum(pair.has_palette for pair in self.pairs)

    @property
    def errors(self) -> list[str]:
        return [text for pair in self.pairs for text in pair.errors.values()]

    @property
    def suggestion(self) -> dict[int, int] | None:
        """A `label_map` that makes two classes of masks of which one is ignored now."""
        return suggest_label_map(self.raw_values, self.pixels, self.ignored)

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


def occurring_classes(dataset, seconds: float = 5, seed: int = 0) -> DatasetFacts:
    """Return facts about a random sample of a data set's files.

    Args:
        dataset: A data set of this package, or a wrapper of mmengine around some.
        seconds: After how long to stop; at least one image is looked at.
        seed: Seed of the order in which images are looked at.
    """
    facts, items = DatasetFacts(), []
    for part in parts_of(dataset):
        if has_files(part, facts):
            items += [(part, k) for k in range(len(part))]
    facts.total = len(items)
    random.Random(seed).shuffle(items)
    end = time.monotonic() + seconds
    for part, index in items:
        pair = look_at(part, sample_of(part, index), thorough=False)
        leaves_out = getattr(part, 'bad_samples', None) is not None  # --skip-bad
        if not (pair.errors and leaves_out):
            facts.pairs.append(pair)
        if time.monotonic() > end:
            break
    return facts


def parts_of(dataset) -> Iterator:
    """Yield the data sets of files inside mmengine's wrappers, each of them once."""
    if isinstance(dataset, SegDataset | TorchvisionDataset):
        yield dataset
    elif hasattr(dataset, 'datasets'):
        for part in dataset.datasets:
            yield from parts_of(part)
    elif hasattr(dataset, 'dataset'):
        yield from parts_of(dataset.dataset)
    else:
        yield dataset


def has_files(part, facts: DatasetFacts) -> bool:
    """Add a data set to the parts, or say that it has no files to look at."""
    if isinstance(part, SegDataset | TorchvisionDataset):
        facts.parts.append(part)
        return True
    facts.skipped.append(f'{type(part).__name__} is not a data set of files')
    return False


def survey(
    splits: Mapping[str, Sequence],
    processes: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, DatasetFacts]:
    """Look at every file of some splits.

    Args:
        splits: Name of each split -> its data sets, not listed yet (`lazy_init=True`).
        processes: How many processes look at files.
        progress: Called with (images looked at, images in all) after each image.

    Raises:
        ValueError: A process was killed.
    """
    result, tasks = {}, []
    for name, parts in splits.items():
        result[name] = facts = DatasetFacts(name)
        for part in parts:
            if has_files(part, facts):
                samples, missing = list_samples(part)
                facts.missing += missing
                facts.strays += stray_labels(part, samples) if samples else []
                facts.total += len(samples)
                number = len(facts.parts) - 1
                tasks += [(name, number, sample) for sample in samples]
    parts = {name: facts.parts for name, facts in result.items()}
    looks = run_tasks(parts, tasks, processes)
    for done, ((name, number, _), pair) in enumerate(zip(tasks, looks, strict=True), 1):
        pair.part = number
        result[name].pairs.append(pair)
        if progress:
            progress(done, len(tasks))
    return result


_parts: dict[str, list[Part]] = {}  # of the process


def run_tasks(
    parts: dict[str, list[Part]], tasks: list[tuple], processes: int
) -> Iterator[PairFacts]:
    """Yield the facts of each (split, number of the part, sample), in order."""
    if processes == 1:
        _parts.update(parts)
        yield from map(do_task, tasks)
        return
    # forked, as the workers of data loaders are: a user's own classes are known there
    can_fork = 'fork' in multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context('fork' if can_fork else None)
    pool = ProcessPoolExecutor(processes, context, begin_process, (parts,))
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # a forked process would wait for OpenCV's threads for ever
    try:
        yield from pool.map(do_task, tasks, chunksize=4)
    except BrokenProcessPool as error:
        raise ValueError(
            'A process that looked at files was killed, perhaps for want of memory. '
            'Try again with --processes 1.'
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)
        cv2.setNumThreads(threads)


def begin_process(parts: dict[str, list[Part]]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the main process
    _parts.update(parts)


def do_task(task: tuple) -> PairFacts:
    name, number, sample = task
    return look_at(_parts[name][number], sample, thorough=True)
