"""Do the runs of a sweep, each in a process of `fastscnn train`.

A file in a run's folder says how far it is, so that a sweep goes on after a stop, and
the tasks of a Slurm array can share it.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mmseg_fastscnn.engine.interruption import SIGNALS
from mmseg_fastscnn.engine.sweep.lock import locked
from mmseg_fastscnn.engine.sweep.plan import PlannedRun


class Process:
    """The process of a run, which goes on from the run's last checkpoint.

    Args:
        run: The run.
        gpu: The GPU to use; None leaves the choice to the run.
        to_file: Whether its output goes to a file beside its folder.

    Raises:
        ValueError: What it is trained with has changed, or another task of a Slurm
            array trains it.
    """

    def __init__(self, run: PlannedRun, gpu: str | None, to_file: bool):
        self.run, self.gpu = run, gpu
        run.check_unchanged()
        self.lock = ExitStack()
        self.lock.enter_context(locked(run.folder, shared=False))
        state = run.state()
        words = [*run.words, *(['--resume'] if state else [])]
        self.seconds = state['seconds'] if state else 0.0
        self.begin = time.monotonic()
        run.write_state(self.seconds, None)
        env = os.environ if gpu is None else {**os.environ, 'CUDA_VISIBLE_DEVICES': gpu}
        self.output = output_of(run).open('ab') if to_file else None
        self.process = subprocess.Popen(
            [sys.executable, '-m', 'mmseg_fastscnn', 'train', *words],
            env=env,
            stdout=self.output,
            stderr=self.output and subprocess.STDOUT,
            start_new_session=True,  # it gets signals once, from the sweep
            close_fds=False,  # it holds the locks
        )

    def ended(self) -> int | None:
        """Return the exit status, and note it, once the run has ended; else None."""
        status = self.process.poll()
        if status is not None:
            self.run.write_state(self.seconds + time.monotonic() - self.begin, status)
            self.lock.close()
            if self.output is not None:
                self.output.close()
        return status


def output_of(run: PlannedRun) -> Path:
    """Return the file for a run's output while other runs print, too."""
    return run.folder.with_name(f'{run.folder.name}.txt')


def do_runs(runs: Sequence[PlannedRun], gpus: Sequence[str] | None) -> dict:
    """Do the runs that are not done, one at a time or one per GPU.

    Args:
        runs: The runs.
        gpus: The GPUs to use; by default one run at a time chooses its device itself.

    Returns:
        The exit statuses of those that failed.

    Raises:
        SystemExit: After a signal to stop, once the runs have ended.
    """
    waiting = [run for run in runs if not run.is_done()]
    free, active, failed = list(gpus or [None]), [], {}
    with forwarded_signals(active) as signals:
        while active or (waiting and not signals):
            if waiting and free and not signals:
                run = waiting.pop(0)
                done = len(runs) - len(waiting)
                print(f'Run {done} of {len(runs)}: {run.folder}', flush=True)
                active.append(Process(run, free.pop(0), to_file=gpus is not None))
                for number in signals:  # that came while it was started
                    active[-1].process.send_signal(number)
                continue
            for process in [p for p in active if p.ended() is not None]:
                active.remove(process)
                free.append(process.gpu)
                if process.process.returncode:
                    failed[process.run] = process.process.returncode
            time.sleep(0.2)
    if signals:
        print('Stopped. The same command goes on from here.', flush=True)
        raise SystemExit(128 + signals[0])  # as the shell's
    return failed


@contextmanager
def forwarded_signals(active: Sequence[Process]) -> Iterator[list[int]]:
    """Pass signals to stop on to the active runs, which save and end.

    A signal that is ignored, as SIGHUP under `nohup`, stays ignored.

    Yields:
        A list of the signals that came.
    """
    came: list[int] = []

    def forward(number: int, _frame) -> None:
        came.append(number)
        for process in active:
            process.process.send_signal(number)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, forward)
    try:
        yield came
    finally:
        for process in active:  # after an error: a run alone would be started twice
            process.process.terminate()
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
