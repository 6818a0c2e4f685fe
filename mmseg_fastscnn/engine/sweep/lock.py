"""A sweep has its folder for itself, and so has each of its runs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = '.sweep.lock'


@contextmanager
def locked(out: str | Path, shared: bool) -> Iterator[None]:
    """Keep other sweeps away from a folder, in which they would train the same runs.

    The runs hold the lock, too: one may outlive a sweep that is killed.

    Args:
        out: Folder of the sweep, or of one of its runs.
        shared: Whether others that share it may work there, as tasks of a Slurm array.

    Raises:
        ValueError: Another sweep works there.
    """
    file = Path(out, LOCK)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open('w') as lock:
        os.set_inheritable(lock.fileno(), True)
        try:
            import fcntl  # there is none on Windows

            kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(
                f'Another sweep, or a run that it has left, works in {out}. Wait for '
                f'its end, or give another --out.'
            ) from error
        except (ImportError, OSError) as error:
            print(f'{file} cannot be locked ({error}): start no other sweep there now.')
        yield
