"""Samples that cannot be read: which errors are theirs, and how a run goes on.

`loading.reading` notes in `being_read` which file each process reads.
"""

import ctypes
import errno
import json
import multiprocessing
from contextlib import suppress
from pathlib import Path

from mmengine.logging import MMLogger

# Errors of the system that say nothing about the file: too many open ones, no memory.
NOT_OF_THE_FILE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
# Which file each process is reading, shared with the processes of a DataLoader, so that
# it can be named when one of them is killed. Two processes may share a slot.
SLOTS, BYTES = 256, 512
being_read = multiprocessing.RawArray(ctypes.c_char * BYTES, SLOTS)


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
        images = [entry['image'] for entry in json_lines(self.file)]
        if image not in images:
            entry = dict(image=image, file=error.bad_file, reason=str(error))
            self.file.parent.mkdir(parents=True, exist_ok=True)
            # appended by one call, so that lines of several processes do not mix
            with open(self.file, 'a+b', buffering=0) as file:
                file.seek(0)
                is_cut = file.read()[-1:] not in (b'', b'\n')
                line = json.dumps(entry).encode() + b'\n'
                file.write(b'\n' + line if is_cut else line)
            MMLogger.get_current_instance().warning('Left out: %s', error)
            images = [entry['image'] for entry in json_lines(self.file)]
        # two processes may have listed the same one at once
        if list(dict.fromkeys(images)).index(image) >= self.limit:
            raise ValueError(
                f'More than {self.limit} samples cannot be read (--skip-bad); they are '
                f'listed in {self.file}. The last one: {error}'
            ) from error


def json_lines(path: Path) -> list[dict]:
    """Return the dicts of a file that has one per line; none if there is no such file.

    A line that a kill or a full disk has cut short is left out. In the list of bad
    samples it is of one that will be listed again.
    """
    lines = []
    for text in path.read_bytes().splitlines() if path.exists() else ():
        with suppress(ValueError):
            lines.append(json.loads(text))
    return lines
