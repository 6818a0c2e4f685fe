"""Look at the files of a data set: at a sample in limited time, or at all of them."""

import multiprocessing
import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import cv2

from mmseg_fastscnn.datasets.doctor.dataset_facts import DatasetFacts
from mmseg_fastscnn.datasets.doctor.facts import PairFacts, look_at
from mmseg_fastscnn.datasets.doctor.listing import (
    list_samples,
    sample_of,
    stray_labels,
)
from mmseg_fastscnn.datasets.parts import Part, parts_of


def sample_facts(dataset, seconds: float = 5, seed: int = 0) -> DatasetFacts:
    """Return facts about a random sample of a data set's files.

    Args:
        dataset: A data set of this package, or a wrapper of mmengine around some.
        seconds: After how long to stop; at least one image is looked at.
        seed: Seed of the order in which images are looked at.
    """
    facts, items = DatasetFacts(), []
    for part in parts_of(dataset):
        if add_part(part, facts):
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


def add_part(part, facts: DatasetFacts) -> bool:
    """Add a data set to the parts; return whether it is one of files, else say so."""
    if isinstance(part, Part):
        facts.parts.append(part)
        return True
    facts.skipped.append(f'{type(part).__name__} is not a data set of files')
    return False


def survey(
    splits: Mapping[str, Sequence],
    processes: int,
    progress: Callable[[int, int], None] | None,
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
            if add_part(part, facts):
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
