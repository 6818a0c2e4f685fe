"""Stages of work that overlap in threads, in order: decode, network, draw, write."""

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar('T')
U = TypeVar('U')
END = object()


class Stages:
    """Chain stages, each in a thread of its own and a few items ahead of the next.

    OpenCV and the runtimes let other threads work meanwhile.

    Attributes:
        ahead: How many items a stage may be ahead; set it before the first stage.
        seconds: How long each stage has worked, by its name, without waiting; where
            it works on several items at once, the sum over them.
    """

    def __init__(self):
        self.ahead = 3
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.lock = threading.Lock()

    def read(self, name: str, items: Iterable[T]) -> Iterator[T]:
        """Run the first stage: an iterable."""
        return in_thread(self._timed_items(name, iter(items)), self.ahead)

    def apply(
        self,
        name: str,
        work: Callable[[T], U],
        items: Iterable[T],
        at_once: int = 1,
    ) -> Iterator[U]:
        """Run a further stage: a function of each item.

        Args:
            name: Name of the stage.
            work: The function.
            items: The items.
            at_once: How many threads call it, each with an item of its own. The
                results keep the order of the items.
        """

        def timed_work(item: T) -> U:
            with self.timed(name):
                return work(item)

        # one more, so that a thread that finishes early has work
        most = at_once if at_once == 1 else at_once + 1

        def results() -> Iterator[U]:
            pending: deque[Future[U]] = deque()
            with ThreadPoolExecutor(at_once) as threads:
                try:
                    for item in items:
                        pending.append(threads.submit(timed_work, item))
                        if len(pending) == most:
                            yield pending.popleft().result()
                    while pending:
                        yield pending.popleft().result()
                finally:
                    close(items)

        return in_thread(results(), self.ahead)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add the time of a block to that of a stage."""
        began = time.perf_counter()
        yield
        with self.lock:
            self.seconds[name] += time.perf_counter() - began

    def _timed_items(self, name: str, iterator: Iterator[T]) -> Iterator[T]:
        try:
            while True:
                with self.timed(name):
                    item = next(iterator, END)
                if item is END:
                    return
                yield item
        finally:
            close(iterator)


def in_thread(items: Iterator[T], ahead: int) -> Iterator[T]:
    """Yield the items of an iterator that a thread runs, a few items ahead.

    An error of the iterator is raised in the place of the item.
    """
    with ThreadPoolExecutor(1) as thread:
        pending = deque(thread.submit(next, items, END) for _ in range(ahead))
        try:
            while (item := pending.popleft().result()) is not END:
                pending.append(thread.submit(next, items, END))
                yield item
        finally:
            for future in pending:
                future.cancel()
            thread.submit(close, items)


def close(items: Iterable) -> None:
    """End a generator, so that it closes what it reads; other iterables have no end."""
    if isinstance(items, Generator):
        items.close()


def newest(items: Iterator[T]) -> Iterator[tuple[T, int]]:
    """Yield the newest item whenever one is asked for, and skip those in between.

    So a live source never lags, however slowly its frames are used.

    Yields:
        The item, and how many were skipped since the one before.
    """
    changed, over = threading.Condition(), threading.Event()
    latest: list[T] = []
    skipped = 0
    errors: list[Exception] = []

    def follow() -> None:
        nonlocal skipped
        try:
            for item in items:
                with changed:
                    skipped += len(latest)
                    latest[:] = [item]
                    changed.notify()
                if over.is_set():
                    return
        except Exception as error:
            errors.append(error)
        finally:
            with changed:
                over.set()
                changed.notify()

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        while True:
            with changed:
                changed.wait_for(lambda: latest or over.is_set())
                if not latest:
                    break
                item, count, skipped = latest.pop(), skipped, 0
            yield item, count
        if errors:
            raise errors[0]
    finally:
        over.set()
        thread.join()  # so that nobody closes a source while it is read
