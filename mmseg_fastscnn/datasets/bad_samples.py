"""Samples that cannot be read: which errors are theirs, and how a run goes on.

Samples that can be read come here only to find `being_read`; see `loading.reading`.
"""

import ctypes
import errno
import json
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mmengine.logging import MMLogger

if TYPE_CHECKING:
    from mmseg_fastscnn.datasets.seg_dataset import SegDataset

# Errors of the system that say nothing about the file: too many open ones, no memory.
NOT_OF_THE_FILE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
# Which file each process is reading, shared with the processes of a DataLoader, so that
# it can be named when one of them is killed. Two processes may share a slot.
SLOTS, BYTES = 256, 512
being_read = multiprocessing.RawArray(ctypes.c_char * BYTES, SLOTS)


def name_file(error: Exception, path: str) -> None:
    """Mark an error as coming from this file, by its attribute `bad_file`."""
    if getattr(error, 'errno', None) not in NOT_OF_THE_FILE:
        error.bad_file = str(path)


def file_read_by(pid: int) -> str | None:
    """Return the file that a process was reading when it ended, if that is known."""
    text = being_read[pid % SLOTS].value.decode(errors='replace')
    owner, _, path = text.partition(' ')
    return path if owner == str(pid) else None


class BadSamples:
    """The samples that a run leaves out since they cannot be read.

    They are listed in a file, one JSON dict per line with `image`, `file` (the image or
    its label) and `reason`. All workers and processes of a run append to it, and what
    it holds is counted. A resumed run goes on counting.

    Args:
        limit: How many different samples may be left out.
        file: The list, in a folder that all processes of the run share.
    """

    def __init__(self, limit: int, file: str):
        self.limit = limit
        self.file = Path(file)

    def add(self, image: str, error: Exception) -> None:
        """List a sample, unless it is listed already.

        Raises:
            ValueError: More samples than allowed cannot be read.
        """
        images = [entry['image'] for entry in read_list(self.file)]
        if image not in images:
            entry = dict(image=image, file=error.bad_file, reason=str(error))
            self.file.parent.mkdir(parents=True, exist_ok=True)
            # appended by one call, so that lines of several processes do not mix
            with open(self.file, 'ab', buffering=0) as file:
                file.write(json.dumps(entry).encode() + b'\n')
            MMLogger.get_current_instance().warning('Left out: %s', error)
            images = [entry['image'] for entry in read_list(self.file)]
        # two processes may have listed the same one at once
        if list(dict.fromkeys(images)).index(image) >= self.limit:
            raise ValueError(
                f'More than {self.limit} samples cannot be read (--skip-bad); they are '
                f'listed in {self.file}. The last one: {error}'
            ) from error


def next_readable(
    dataset: 'SegDataset', prepare: Callable[[int], dict | None], idx: int
) -> dict:
    """Return what the pipeline makes of the first pair after `idx` that can be read.

    Which one that is follows from `idx` alone, so that a run with the same seed sees
    the same images.

    Args:
        dataset: Whose `leave_out` says whether to go on after an error.
        prepare: Gives what the pipeline makes of a pair, None for one to skip.
        idx: A pair that cannot be read itself.

    Raises:
        ValueError: There is none.
    """
    count = len(dataset)
    for other in range(idx + 1, idx + count):
        try:
            data = prepare(other % count)
        except (ValueError, OSError) as error:
            dataset.leave_out(other % count, error)
            continue
        if data is not None:
            return data
    raise ValueError(f'None of the {count} images can be read.')


def read_list(file: str | Path) -> list[dict]:
    """Return the samples that a run has left out, see `BadSamples`, in their order."""
    file = Path(file)
    lines = file.read_text().splitlines() if file.exists() else []
    # a line that a full disk has cut short is of a sample that will be listed again
    return [json.loads(line) for line in lines if line.endswith('}')]
