"""Data parallel training: its processes on CPUs, and how the model is wrapped."""

import inspect
import os

import torch
from mmengine.dist import is_distributed
from torch.nn.parallel import DistributedDataParallel


def check_launcher(launcher: str) -> None:
    """Check that processes are started in a way that works on this machine.

    Raises:
        ValueError: The launcher is 'pytorch' and torchrun has not started this process,
            or it is another one than 'pytorch' and there are only CPUs.
    """
    if is_distributed():
        return  # started and joined already, by whoever uses the runner
    if launcher == 'pytorch' and 'RANK' not in os.environ:
        raise ValueError(
            '--launcher pytorch is for processes that torchrun started. Use '
            'tools/dist_train.sh or tools/dist_test.sh, or leave it out.'
        )
    if launcher not in ('none', 'pytorch') and not torch.cuda.is_available():
        raise ValueError(
            f'--launcher {launcher} needs CUDA devices; on CPUs start the '
            f'processes with torchrun (tools/dist_train.sh).'
        )


def join_on_cpus() -> None:
    """Join the processes of a run by gloo if there are only CPUs.

    mmengine's own start would call `torch.cuda.set_device`, which fails on CPUs.
    """
    if not torch.cuda.is_available() and not is_distributed():
        torch.distributed.init_process_group('gloo')


def data_parallel_settings(find_unused_parameters: bool) -> dict:
    """Return the config of the wrapper for data parallel training.

    Buffers are not broadcast in each step: statistics of normalisation are joined
    before a validation (`SyncBuffersHook`).
    """
    # torch 2.13 deprecates the second name; before, only that one is known
    names = ('forward_sync_buffers', 'broadcast_buffers')
    known = inspect.signature(DistributedDataParallel).parameters
    buffers = next(name for name in names if name in known)
    settings = dict(
        type='MMDistributedDataParallel', find_unused_parameters=find_unused_parameters
    )
    settings[buffers] = False
    if not torch.cuda.is_available():
        settings['device_ids'] = None
    return settings
