"""Stages of work that overlap in threads, in order: decode, network, draw, write."""

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar('T')
U = TypeVar('U')
END = object()


class Stages:
    """Chain stages, each in a thread of its own and a few items ahead of the next.

    OpenCV and the runtimes let other threads work meanwhile.

    Args:
        ahead: How many items a stage may be ahead.

    Attributes:
        seconds: How long each stage has worked, by its name, without waiting.
    """

    def __init__(self, ahead: int = 3):
        self.ahead = ahead
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def read(self, name: str, items: Iterable[T]) -> Iterator[T]:
        """Run the first stage: an iterable."""
        return in_thread(self._timed_items(name, iter(items)), self.ahead)

    def apply(
        self, name: str, work: Callable[[T], U], items: Iterable[T]
    ) -> Iterator[U]:
        """Run a further stage: a function of each item."""

        def results() -> Iterator[U]:
            for item in items:
                with self.timed(name):
                    result = work(item)
                yield result

        return in_thread(results(), self.ahead)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Count the time of a block, as of a stage."""
        began = time.perf_counter()
        yield
        self.seconds[name] += time.perf_counter() - began

    def _timed_items(self, name: str, iterator: Iterator[T]) -> Iterator[T]:
        while True:
            with self.timed(name):
                item = next(iterator, END)
            if item is END:
                return
            yield item


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
            thread.submit(getattr(items, 'close', lambda: None))


def newest(items: Iterator[T]) -> Iterator[T]:
    """Yield the newest item whenever one is asked for, and skip those in between.

    So a live source never lags, however slow its frames are used.
    """
    changed, latest, over = threading.Condition(), deque(maxlen=1), threading.Event()
    errors: list[Exception] = []

    def follow() -> None:
        try:
            for item in items:
                with changed:
                    latest.append(item)
                    changed.notify()
                if over.is_set():
                    return
        except Exception as error:
            errors.append(error)
        finally:
            with changed:
                over.set()
                changed.notify()

    threading.Thread(target=follow, daemon=True).start()
    try:
        while True:
            with changed:
                changed.wait_for(lambda: latest or over.is_set())
                if not latest:
                    break
                item = latest.popleft()
            yield item
        if errors:
            raise errors[0]
    finally:
        over.set()
