"""Data loaders of a run: how many workers they have, and which signals end these."""

import os
import signal
import threading
from collections.abc import Callable
from functools import partial

from mmengine.logging import MMLogger
from mmengine.runner import BaseLoop
from torch.utils.data import DataLoader

from mmseg_fastscnn.cores import cores_per_process
from mmseg_fastscnn.engine.interruption import SIGNALS


def with_workers_that_fit(settings: dict) -> dict:
    """Return the config of a data loader with at most one worker per core."""
    asked = settings.get('num_workers', 0)
    workers = min(asked, cores_per_process())
    if workers < asked:
        MMLogger.get_current_instance().info(
            '%d loading workers instead of the %d of the config: each process '
            'has no more cores.',
            workers,
            asked,
        )
    persistent = settings.get('persistent_workers', False) and workers > 0
    return dict(settings, num_workers=workers, persistent_workers=persistent)


def shielded(loader: DataLoader) -> DataLoader:
    """Keep the workers of a loader alive after a signal to all processes of a job.

    Ctrl-C, Slurm and torchrun send one to the workers, too. Without them no iteration
    would be finished.
    """
    loader.worker_init_fn = partial(begin_worker, loader.worker_init_fn)
    return loader


def begin_worker(init: Callable[[int], None] | None, worker: int) -> None:
    """Set up a worker that ignores signals to the job; only its parent ends it."""
    for known in SIGNALS:
        if known != signal.SIGTERM:
            signal.signal(known, signal.SIG_IGN)
    if hasattr(signal, 'sigwaitinfo'):  # not on macOS
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        threading.Thread(target=end_with_parent, daemon=True).start()
    if init is not None:
        init(worker)


def end_workers(*loops: BaseLoop | None) -> None:
    """End the workers that loops keep from epoch to epoch.

    torch ends them with their loader, but waits 5 s for each if it is a garbage
    collection that finds them: in a notebook, at the next run.
    """
    for loop in loops:
        if loop is not None:
            loop.dataloader._iterator = None


def end_with_parent() -> None:
    """Wait for a SIGTERM from the parent, ignoring others, and end this process."""
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != os.getppid():
        pass
    os._exit(0)
