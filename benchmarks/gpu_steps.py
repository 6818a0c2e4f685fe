"""What a process of `gpu.py` does: it waits for a step, takes it, and sends the row.

A step is a function of a `Setting` that returns the numbers of its row. It raises
`NotSeen` where something that it needs is not there. Those of `gpu_kernels.py` and
`gpu_correct.py` hold kernels and training against references, those of `gpu_speed.py`
measure.
"""

import importlib
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from multiprocessing.connection import Connection, wait
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import NamedTuple

LOW = ('float16', 'bfloat16')
PRECISIONS = ('float32', *LOW)
# where the steps are
PLACES = ('gpu_kernels', 'gpu_correct', 'gpu_counts', 'gpu_speed', 'gpu_others')
IMPORTED = [
    f'mmseg_fastscnn.{r}' for r in ('models', 'datasets', 'engine.runner', 'apis')
]


class NotSeen(Exception):
    """Something that a step needs is not on this machine; the message says what."""


class Setting(NamedTuple):
    """Where and how the steps run.

    Attributes:
        device: 'cuda' or 'cpu'.
        quick: Whether images are tiny and measurements short.
        out: Folder of the results.
        camvid: Folder of the CamVid frames, if they are there.
        seconds: Until the process of the step is killed.
    """

    device: str
    quick: bool
    out: Path
    camvid: Path | None
    seconds: float = 60

    @property
    def size(self) -> tuple[int, int]:
        """(h, w) of an image to predict."""
        return (64, 128) if self.quick else (1024, 2048)

    @property
    def crop(self) -> tuple[int, int]:
        """(h, w) of an image to train on."""
        return (64, 128) if self.quick else (512, 1024)

    def batch(self, size: int) -> int:
        return min(size, 2) if self.quick else size


def machine(device: str) -> dict | None:
    """Describe the device, or return None if there is none."""
    import torch

    facts = dict(torch=torch.__version__, cores=len(os.sched_getaffinity(0)))
    if device == 'cpu':
        return dict(device='CPU', count=1, **facts)
    if not torch.cuda.is_available():
        return None
    count = torch.cuda.device_count()
    return dict(device=torch.cuda.get_device_name(), count=count, **facts)


def end_with_parent() -> None:
    """End when `gpu.py` has ended, even by a kill, so that the GPU is free again."""
    wait([multiprocessing.parent_process().sentinel])
    os.killpg(0, signal.SIGKILL)


def serve(pipe: Connection, imported: Event) -> None:
    """Be a process: import, wait for one step, send its row, and end at once."""
    os.setsid()  # so that what the step starts can be killed with it
    threading.Thread(target=end_with_parent, daemon=True).start()
    # mmengine would import it where it is installed, for seconds
    sys.modules['transformers'] = None
    from mmengine.registry import init_default_scope

    for name in (*IMPORTED, *PLACES):
        importlib.import_module(name)
    init_default_scope('mmseg_fastscnn')
    imported.set()
    try:
        function, options, setting, log = pipe.recv()
    except EOFError:
        return  # no step is left
    with open(log, 'w') as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        place, name = function.split(':')
        step = getattr(importlib.import_module(place), name)
        row = dict(status='done', **step(setting, **options))
    except NotSeen as error:
        row = dict(status='not seen', why=str(error))
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        text = str(error).strip().splitlines() or ['']
        # a process that failed says why at the end
        said = text[-1 if isinstance(error, SystemExit) else 0]
        row = dict(status='failed', why=f'{type(error).__name__}: {said}')
    sys.stdout.flush()
    pipe.send(row)
    os._exit(0)  # nothing of the GPU's has to be put away
