"""Say how far the prediction of a stream is, and in the end how long it took."""

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from mmseg_fastscnn.deploy.frames import Frame
from mmseg_fastscnn.deploy.sources import Source
from mmseg_fastscnn.deploy.stages import Stages

SECONDS = 10  # from one line to the next, where there is no terminal


class FrameProgress:
    """A bar on a terminal, elsewhere a line now and then; both on the standard error.

    Args:
        sources: What is predicted.

    Attributes:
        count: Number of frames so far.
        skipped: How many frames of live sources were left out so as not to lag.
        problems: How many sources and frames could not be read or predicted.
    """

    def __init__(self, sources: list[Source]):
        self.count = self.skipped = self.problems = 0
        self.began = self.said = time.perf_counter()
        self.is_one_video = len(sources) == 1 and not sources[0].is_image
        console = Console(stderr=True)
        self.bar = Progress(
            TextColumn('{task.description}', markup=False),
            BarColumn(),
            TextColumn('{task.completed} frames, {task.fields[rate]:.1f} per second'),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        only_images = all(source.is_image for source in sources)
        total = len(sources) if only_images else None  # is known, or the bar runs idle
        self.task = self.bar.add_task('', total=total, rate=0.0)

    def __enter__(self) -> 'FrameProgress':
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.began

    def note(self, text: str) -> None:
        """Print a line, above the bar if there is one."""
        self.bar.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def problem(self, text: str) -> None:
        """Print what was skipped and why, and count it."""
        self.problems += 1
        self.note(text)

    def advance(self, frame: Frame) -> None:
        """Count a frame that is done."""
        self.count += 1
        self.skipped += frame.skipped
        rate = self.count / self.seconds
        total = frame.video.frames // frame.video.every if self.is_one_video else None
        known = dict(total=total) if total else {}
        self.bar.update(
            self.task, advance=1, rate=rate, description=frame.source, **known
        )
        now = time.perf_counter()
        if self.bar.disable and now - self.said > SECONDS:
            self.said = now
            self.note(f'{self.count} frames, {rate:.1f} per second')

    def report(self, stages: Stages) -> None:
        """Print frames per second, and how long each stage has worked per frame."""
        seconds = self.seconds
        print(
            f'{self.count} frames in {seconds:.1f} s: {self.count / seconds:.1f} per '
            f'second. Each stage has a thread of its own:'
        )
        for name, spent in stages.seconds.items():
            print(f'  {name:<20}{1e3 * spent / self.count:8.1f} ms per frame')
        if self.skipped:
            print(f'{self.skipped} frames were skipped so as not to lag.')
