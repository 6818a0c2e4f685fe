"""Properties and settings of the machine: device, precision."""

import gc
import importlib
import logging
import os
import re
import sys
from importlib import metadata

import torch
from mmengine.device import get_device
from mmengine.logging import MMLogger


def describe_device(device: torch.device | None = None) -> str:
    """Return the name of a device; by default, of the device that a run uses."""
    on_gpu = torch.cuda.is_available() if device is None else device.type == 'cuda'
    if on_gpu:
        return f'{torch.cuda.get_device_name(device)}, torch {torch.__version__}'
    return f'CPU, {torch.get_num_threads()} threads, torch {torch.__version__}'


def find_device(name: str | None = None) -> torch.device:
    """Return a device by its name, by default the best there is.

    Raises:
        ValueError: This machine has no such device.
    """
    try:
        device = torch.device(name or get_device())
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError) as error:
        raise ValueError(
            f'This machine has no device {name!r} ({str(error).splitlines()[0]}). It '
            f'has cpu and {torch.cuda.device_count()} CUDA devices (cuda:0, ...).'
        ) from error
    return device


def low_precision() -> torch.dtype:
    """Return the 16-bit type in which this machine's device computes fast."""
    return torch.float16 if get_device() == 'cuda' else torch.bfloat16


def warn_of_slow_bfloat16(dtype: torch.dtype) -> None:
    """Warn where the CPU that a run uses has no fast bfloat16.

    Without AVX-512, torch computes convolutions in bfloat16 by a plain loop: a training
    step takes nine times as long as in float32, a prediction twenty times.
    """
    capability = torch.backends.cpu.get_cpu_capability()
    if dtype == torch.bfloat16 and get_device() == 'cpu' and capability == 'AVX2':
        MMLogger.get_current_instance().warning(
            'This CPU has no AVX-512; bfloat16 is several times slower than float32.'
        )


def set_aside_broken_torchvision(logger: logging.Logger) -> None:
    """Treat a torchvision that cannot be imported as one that is not installed.

    A torchvision that was built for another torch raises RuntimeError at import, which
    mmengine's environment report does not expect. torchvision is optional here.

    Args:
        logger: Gets a warning that says why, and which version would fit.
    """
    try:
        importlib.import_module('torchvision')
    except ModuleNotFoundError:
        return  # not installed, or set aside before
    except (ImportError, RuntimeError, OSError) as error:
        sys.modules['torchvision'] = None
        requires = metadata.requires('torchvision') or []
        needs = next((r for r in requires if r.startswith('torch')), 'its torch')
        logger.warning(
            'torchvision is left aside: it fails with torch %s (%s). If you need it, '
            'install torchvision==%s with %s, both CPU or both CUDA builds.',
            torch.__version__,
            str(error).splitlines()[0],
            metadata.version('torchvision'),
            re.sub('[() ]', '', needs),
        )


def leave_process_group(status: int = 0) -> None:
    """End one of several processes, as the last call of a command.

    Nothing happens where there is only one. All processes have to call it.

    Gloo's threads may abort a process while Python shuts down ("terminate called
    without an active exception"). So the data parallel model, which refers to the
    process group, is freed first, then the group, and Python's shutdown is skipped.

    Args:
        status: The exit status.
    """
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        gc.collect()
        torch.distributed.destroy_process_group()
        end_at_once(status)


def end_at_once(status: int) -> None:
    """End the process with an exit status, without Python's shutdown."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
