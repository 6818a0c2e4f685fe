"""How much memory there is, how much a process has held, and what it does with it."""

import ctypes
import os
import re
import shutil
import sys
from pathlib import Path

SHARED, GIB = '/dev/shm', 2**30
MEMINFO = Path('/proc/meminfo')
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def peak_memory() -> float | None:
    """Return the most memory that this process has held, in MiB; None on Windows."""
    status = Path('/proc/self/status')
    if status.exists():  # `ru_maxrss` counts the parent's memory, too
        line = next(x for x in status.read_text().splitlines() if 'VmHWM' in x)
        return int(line.split()[1]) / 1024
    if os.name != 'posix':
        return None
    import resource  # there is none on Windows

    unit = 2**20 if sys.platform == 'darwin' else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def meminfo() -> dict[str, int]:
    """Return Linux's account of its memory, in KiB by name; {} on other systems."""
    if not MEMINFO.exists():
        return {}
    found = re.findall(r'(\w+): +(\d+) kB', MEMINFO.read_text())
    return {name: int(kib) for name, kib in found}


def available_memory() -> str:
    """Return how much memory and shared memory there is, as text."""
    parts, kib = [], meminfo()
    if kib:
        free, total = (kib[key] / 2**20 for key in ('MemAvailable', 'MemTotal'))
        parts.append(f'{free:.2f} of {total:.2f} GiB are available now')
    limit = Path('/sys/fs/cgroup/memory.max')
    if limit.exists() and limit.read_text().strip().isdigit():
        parts.append(f'this container may use {int(limit.read_text()) / GIB:.2f} GiB')
    if Path(SHARED).exists():
        usage = shutil.disk_usage(SHARED)
        parts.append(
            f'{usage.free / GIB:.2f} of {usage.total / GIB:.2f} GiB of shared memory '
            f'({SHARED}) are free'
        )
    return ', '.join(parts) or 'the system does not say how much there is'


def reuse_large_blocks() -> None:
    """Keep large blocks of memory that are freed, so that the next step reuses them.

    By default the C library returns them to the system, and the system fills them with
    zeros when the next step asks for them again. That takes a sixth of a training step
    on two cores. The setting holds for the whole process, so only commands make it.
    Nothing changes where a GPU is used or the C library is not glibc.
    """
    torch = sys.modules.get('torch')  # which not all commands import
    has_gpu = torch is not None and torch.cuda.is_available()
    if sys.platform != 'linux' or has_gpu:
        return
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 32 << 20)  # 32 MiB, the largest that it accepts
        mallopt(M_TRIM_THRESHOLD, (2 << 30) - 1)
