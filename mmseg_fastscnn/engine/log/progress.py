"""What the terminal shows of the progress of a run: a live bar, or plain lines.

mmengine's lines, with all losses, go to the log file alone. Where something takes long
without a line of its own, a thread says every 10 seconds what is going on.
"""

import atexit
import os
import threading
import time
from collections.abc import Callable, Sequence

from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import Hook
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from mmseg_fastscnn.engine.hooks import log_intervals
from mmseg_fastscnn.evaluation_report import numbers_in

QUIET = 10  # seconds after which a line says that the run still works
LONGEST = 100  # characters of a line


class Heartbeat:
    """Calls a function, in a thread, when nothing was printed for `QUIET` seconds.

    Args:
        say: Prints what is going on.
    """

    def __init__(self, say: Callable[[], None]):
        self.say = say
        self.said = time.monotonic()
        self.ended = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while not self.ended.wait(min(QUIET / 10, 1)):
            if time.monotonic() - self.said >= QUIET:
                try:
                    self.say()
                except ValueError:  # the output is closed
                    return
                self.said = time.monotonic()


class Terminal:
    """Prints lines, above a bar where the output is a terminal."""

    def __init__(self, stream):
        self.stream = stream
        self.pid = os.getpid()
        self.bar: Progress | None = None
        if stream.isatty():
            columns = [BarColumn(20), TextColumn('{task.description}', markup=False)]
            # without redirection: workers that are forked would share its lock
            options = dict(redirect_stdout=False, redirect_stderr=False, transient=True)
            console = Console(file=stream, soft_wrap=True)
            self.bar = Progress(*columns, console=console, **options)
            self.task = self.bar.add_task('Starting', total=1)
            self.bar.start()
            atexit.register(self.bar.stop)  # which shows the cursor again

    def write(self, text: str) -> None:
        """Write as a stream does; the handler of the log does so."""
        if self.bar is None or os.getpid() != self.pid:
            self.stream.write(text)
        elif text.strip('\n'):
            self.bar.console.print(text.rstrip('\n'), markup=False, highlight=False)

    def flush(self) -> None:
        self.stream.flush()

    def say(self, state: str) -> None:
        """Say what is going on: in the bar, or else as a line."""
        self.show(f'Working: {state}' if self.bar is None else state)

    def show(self, line: str, **place: int) -> None:
        """Show the state: in the bar, or else as a line.

        Args:
            line: The state.
            place: Where the bar is, `completed` and `total`, if that has changed.
        """
        if self.bar is None:
            self.write(f'{line}\n')
            self.flush()
        else:
            self.bar.update(self.task, description=line, **place)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.stop()


class ProgressHook(Hook):
    """Show iteration, time left, loss, scores, speed and waiting of a run."""

    priority = 'LOW'  # after RuntimeInfoHook and IterTimerHook, whose values it shows
    terminal: Terminal | None = None

    def before_run(self, runner) -> None:
        if not is_main_process():
            return
        self.handler = runner.logger.handlers[0]
        self.former = self.handler.stream
        self.terminal = Terminal(self.former)
        self.handler.setStream(self.terminal)
        self.state = 'Starting'
        self.heartbeat = Heartbeat(self._still)

    def after_run(self, runner) -> None:
        """Give the terminal back; the runner calls it after an error, too."""
        if self.terminal is not None:
            self.heartbeat.ended.set()
            self.handler.setStream(self.former)
            self.terminal.close()
            self.terminal = None

    def _still(self) -> None:
        if self.terminal is not None:
            self.terminal.say(self.state)

    def _begin(self, state: str) -> None:
        """Note what is going on now; a bar says so at once."""
        self.state = state
        if self.has_bar:
            self.terminal.say(state)

    @property
    def has_bar(self) -> bool:
        return self.terminal is not None and self.terminal.bar is not None

    def before_train_epoch(self, runner) -> None:
        self.intervals = log_intervals(runner)
        self._begin('loading the first batch')

    def after_train_iter(self, runner, batch_idx: int, **kwargs) -> None:
        self.state = f'training, iteration {runner.iter + 1} of {runner.max_iters}'
        due = any(self.every_n_inner_iters(batch_idx, n) for n in self.intervals)
        if self.has_bar or (self.terminal is not None and due):
            line = train_line(runner, max(self.intervals))
            self._show(line, runner.iter + 1, runner.max_iters)

    def _show(self, line: str, done: int, total: int) -> None:
        self.terminal.show(line, completed=done, total=total)
        self.heartbeat.said = time.monotonic()

    def before_val_epoch(self, runner) -> None:
        self._begin('validation, loading the first batch')

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self._count_batch('validation', batch_idx, len(runner.val_dataloader))

    def after_test_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self._count_batch('testing', batch_idx, len(runner.test_dataloader))

    def _count_batch(self, what: str, batch_idx: int, total: int) -> None:
        self.state = f'{what}, batch {batch_idx + 1} of {total}'
        if self.has_bar:
            self._show(self.state, batch_idx + 1, total)

    def after_val_epoch(self, runner, metrics: dict | None = None) -> None:
        self._begin('writing what validation found')
        self._say_scores('val', len(runner.val_dataloader), metrics)

    def after_test_epoch(self, runner, metrics: dict | None = None) -> None:
        self._say_scores('test', len(runner.test_dataloader), metrics)

    def _say_scores(self, mode: str, count: int, metrics: dict | None) -> None:
        if self.terminal is not None and metrics:
            scores = numbers_in(metrics).items()
            parts = [f'{name}: {value:.4f}' for name, value in scores]
            line = fitting([f'Iter({mode}) [{count}/{count}]', *parts])
            self.terminal.write(line + '\n')
            self.terminal.flush()
            self.heartbeat.said = time.monotonic()


def train_line(runner, window: int) -> str:
    """Return iteration, time left, loss, scores, speed and waiting.

    Args:
        runner: The run, after an iteration.
        window: Number of iterations of which means are shown.
    """
    hub = runner.message_hub
    means = {
        name: hub.log_scalars[f'train/{name}'].mean(window)
        for name in ('loss', 'time', 'data_time')
        if f'train/{name}' in hub.log_scalars
    }
    length = str(runner.max_iters)
    parts = [f'Iter(train) [{str(runner.iter + 1).rjust(len(length))}/{length}]']
    if 'eta' in hub.runtime_info:
        parts.append(f'eta: {hours(hub.get_info("eta"))}')
    if 'loss' in means:
        parts.append(f'loss: {means["loss"]:.4f}')
    if 'val/mIoU' in hub.log_scalars:
        parts.append(f'mIoU: {hub.log_scalars["val/mIoU"].current():.1f}')
    best = hub.runtime_info.get('best_score', hub.runtime_info.get('best_score_mIoU'))
    if best is not None:
        parts.append(f'best {best:.1f}')
    if means.get('time'):
        images = runner.train_dataloader.batch_size * get_world_size()
        parts.append(f'{images / means["time"]:.1f} img/s')
        parts.append(f'wait {100 * means["data_time"] / means["time"]:.0f} %')
    return fitting(parts)


def fitting(parts: Sequence[str]) -> str:
    """Join as many parts as a line of `LONGEST` characters holds."""
    line = parts[0][:LONGEST]
    for part in parts[1:]:
        if len(line) + 2 + len(part) > LONGEST:
            break
        line += f'  {part}'
    return line


def hours(seconds: float) -> str:
    """Write seconds as h:mm:ss."""
    minutes, seconds = divmod(int(seconds), 60)
    return f'{minutes // 60}:{minutes % 60:02}:{seconds:02}'
