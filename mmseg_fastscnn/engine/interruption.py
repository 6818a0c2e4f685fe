"""Checkpoints between the regular ones: on a signal, and every so many minutes.

After SIGTERM, SIGINT (Ctrl-C), SIGHUP or SIGUSR1 (Slurm's warning of a time limit) a
run writes a checkpoint at the end of the iteration, says how to go on and ends. A
validation that has begun is finished first: its scores belong to the state that is
written, and during it the model has other weights. A second signal ends a process at
once.
"""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from torch import distributed

from mmseg_fastscnn.engine.checkpoints import POINTER, checkpoint_hook
from mmseg_fastscnn.stopping import StopSignals

NAMES = ('SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1')
SIGNALS = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]


class Stopped(SystemExit):
    """A run ends after a signal, with the exit status that shells use for it."""


class InterruptionHook(Hook):
    """Write a checkpoint, and stop, when a signal came or so many minutes have passed.

    All processes do so in the same iteration: each tells the others at the end of an
    iteration what it knows, and acts at the end of the next one, when the answer has
    come in the meantime. So no process waits, and no GPU.

    Args:
        stop: Notes the signal.
        save_every: Minutes from one checkpoint to the next, at most.
    """

    priority = 'LOWEST'  # after the regular checkpoint of the iteration

    def __init__(self, stop: StopSignals, save_every: float | None = None):
        self.stop = stop
        self.save_every = save_every

    def before_train(self, runner) -> None:
        self.checkpoints = checkpoint_hook(runner)
        if self.checkpoints is None and self.save_every:
            raise ValueError(
                'The config has no CheckpointHook (default_hooks.checkpoint), which '
                '--save-every needs.'
            )
        several = get_world_size() > 1
        self.group = distributed.new_group(backend='gloo') if several else None
        self.asked: tuple[torch.Tensor, distributed.Work] | None = None

    def after_train_iter(self, runner, batch_idx: int, **kwargs) -> None:
        number, is_time = self._known() if self.group is None else self._answer()
        if (number or is_time) and self.checkpoints:
            self.checkpoints.save(runner)
        if number:
            raise self._stop(runner, signal.Signals(number))
        if self.group is not None:
            flags = torch.tensor(self._known())
            work = distributed.all_reduce(
                flags, distributed.ReduceOp.MAX, self.group, async_op=True
            )
            self.asked = flags, work

    def _known(self) -> tuple[int, int]:
        """Return the signal that this process got, or 0, and whether it is time."""
        if not self.save_every or self.checkpoints is None:
            return self.stop.number, 0
        passed = time.monotonic() - self.checkpoints.written
        return self.stop.number, int(passed >= 60 * self.save_every)

    def _answer(self) -> list[int]:
        """Return what all processes together knew after the previous iteration."""
        if self.asked is None:
            return [0, 0]
        flags, work = self.asked
        work.wait()
        return flags.tolist()

    def _stop(self, runner, reason: signal.Signals) -> Stopped:
        pointer = Path(runner.work_dir, POINTER)
        runner.logger.info(
            'Stopped by %s after iteration %d of %d; the last checkpoint is %s. The '
            'same command with --work-dir %s --resume goes on.',
            reason.name,
            runner.iter + 1,
            runner.max_iters,
            pointer.read_text() if pointer.exists() else 'not written yet',
            runner.work_dir,
        )
        return Stopped(128 + reason)


@contextmanager
def stop_on_signals(runner, save_every: float | None = None) -> Iterator[None]:
    """Handle signals while a run trains; the former handlers come back afterwards.

    Args:
        runner: The run, before it trains.
        save_every: See `InterruptionHook`.

    Raises:
        Stopped: A signal came, and a checkpoint is written.
    """
    with StopSignals(SIGNALS) as stop:
        runner.register_hook(InterruptionHook(stop, save_every))
        yield
