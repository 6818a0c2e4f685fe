"""Data parallel training: its processes, and how the model is wrapped."""

import inspect
import os
import socket
from collections.abc import Sequence
from datetime import timedelta
from functools import cache
from itertools import groupby
from typing import NamedTuple

import torch
from mmengine.dist import all_gather_object, is_distributed
from torch.nn.parallel import DistributedDataParallel

# Where a launcher tells a process its rank.
RANK_NAMES = dict(pytorch='RANK', slurm='SLURM_PROCID', mpi='OMPI_COMM_WORLD_RANK')
# And how many processes there are.
SIZE_NAMES = dict(
    pytorch='WORLD_SIZE', slurm='SLURM_NTASKS', mpi='OMPI_COMM_WORLD_SIZE'
)

# MB of gradients that are averaged at once. By torch's default nearly all of the 5.8 MB
# are one bucket, which waits for the first layers: their maps are the largest, so their
# backward pass takes long, but they have 0.03 MB. In smaller buckets the others' are on
# their way meanwhile, and little is left to wait for. Smaller ones are more calls.
BUCKET_MB = 1


class ProcessesDiffer(ValueError):
    """The processes of a run differ; each of them raises it, with the same message."""


class Process(NamedTuple):
    """Where a process of a run is."""

    host: str
    number: int


@cache
def all_processes() -> list[Process]:
    """Return the processes of the run by rank; all have to make the first call."""
    return all_gather_object(Process(socket.gethostname(), os.getpid()))


def rank_list(ranks: Sequence[int]) -> str:
    """Write ascending ranks as text: [0, 1, 2, 5] as 'ranks 0-2, 5'."""
    spans = []
    for _, part in groupby(enumerate(ranks), lambda pair: pair[1] - pair[0]):
        first, *others = [rank for _, rank in part]
        spans.append(f'{first}-{others[-1]}' if others else f'{first}')
    return f'rank{"s" if len(ranks) > 1 else ""} {", ".join(spans)}'


def check_launcher(launcher: str) -> None:
    """Check that processes are started in a way that works on this machine.

    Raises:
        ValueError: The launcher is 'pytorch' and torchrun has not started this process,
            or there is no GPU left for it; or it is another launcher than 'pytorch'
            and there are only CPUs.
    """
    if is_distributed():
        return  # started and joined already, by whoever uses the runner
    if launcher == 'pytorch' and 'RANK' not in os.environ:
        raise ValueError(
            '--launcher pytorch is for processes that torchrun started. Use '
            'tools/dist_train.sh or tools/dist_test.sh, or leave it out.'
        )
    gpus = torch.cuda.device_count()
    if launcher == 'pytorch' and 0 < gpus <= int(os.environ['LOCAL_RANK']):
        raise ValueError(
            f'Rank {os.environ["RANK"]} has no GPU: torchrun started '
            f'{os.environ["LOCAL_WORLD_SIZE"]} processes on {socket.gethostname()}, '
            f'which shows {gpus} CUDA device{"s" * (gpus > 1)}. Start at most {gpus} '
            f'there, or show more GPUs (CUDA_VISIBLE_DEVICES).'
        )
    if launcher not in ('none', 'pytorch') and not torch.cuda.is_available():
        raise ValueError(
            f'--launcher {launcher} needs CUDA devices; on CPUs start the '
            f'processes with torchrun (tools/dist_train.sh).'
        )


def join_on_cpus(timeout: float | None) -> None:
    """Join the processes of a run by gloo if there are only CPUs.

    mmengine's own start would call `torch.cuda.set_device`, which fails on CPUs.

    Args:
        timeout: How long a process waits for the others, in seconds; by default as
            long as torch's default, half an hour.
    """
    if not torch.cuda.is_available() and not is_distributed():
        limit = None if timeout is None else timedelta(seconds=timeout)
        torch.distributed.init_process_group('gloo', timeout=limit)


def is_first(launcher: str) -> bool:
    """Return whether this is the first process of a run, also before they have joined.

    Args:
        launcher: What has started them, 'none' for a single one.
    """
    return int(os.environ.get(RANK_NAMES.get(launcher, ''), 0)) == 0


def process_count(launcher: str) -> int:
    """Return how many processes a run has, also before they have joined.

    Args:
        launcher: What has started them, 'none' for a single one.
    """
    return int(os.environ.get(SIZE_NAMES.get(launcher, ''), 1))


def restarts() -> int:
    """Return how often torchrun has started the processes again after a failure."""
    return int(os.environ.get('TORCHELASTIC_RESTART_COUNT', 0))


def data_parallel_settings(find_unused_parameters: bool) -> dict:
    """Return the config of the wrapper for data parallel training.

    Buffers are not broadcast in each step: statistics of normalisation are joined
    before a validation (`SyncBuffersHook`). Gradients are views of the buckets, which
    saves a copy of each. The graph is not declared static: layers may be frozen for a
    while (`FreezeBackboneHook`) and steps skipped, and where no unused parameters are
    looked for there is nothing to save by it.
    """
    # torch 2.13 deprecates the second name; before, only that one is known
    names = ('forward_sync_buffers', 'broadcast_buffers')
    known = inspect.signature(DistributedDataParallel).parameters
    buffers = next(name for name in names if name in known)
    settings = dict(
        type='MMDistributedDataParallel',
        find_unused_parameters=find_unused_parameters,
        bucket_cap_mb=BUCKET_MB,
        gradient_as_bucket_view=True,
    )
    settings[buffers] = False
    if not torch.cuda.is_available():
        settings['device_ids'] = None
    return settings
