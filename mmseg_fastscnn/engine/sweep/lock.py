"""A sweep has its folder for itself, and knows the files that its runs name."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mmengine.config import Config

from mmseg_fastscnn.config.source import leaves
from mmseg_fastscnn.datasets.soft_layout import INDEX, file_hash

LOCK = '.sweep.lock'


@contextmanager
def locked(out: str | Path, shared: bool) -> Iterator[None]:
    """Keep other sweeps away from a folder, in which they would train the same runs.

    The runs hold the lock, too: one may outlive a sweep that is killed.

    Args:
        out: Folder of the sweep.
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


def named_files(words: Sequence[str], cfg: Config | None) -> dict[str, str]:
    """Return the files that a run names: lists of images, weights, soft labels.

    A name is looked for in the folders that are named as well, such as `data_root`.

    Args:
        words: The arguments of the run.
        cfg: Its config.

    Returns:
        The hash of each, by its path; that of its index for a folder of soft labels.
    """
    values = {word.rpartition('=')[2] for word in words}
    if cfg is not None:
        for _, value in leaves(cfg.to_dict()):
            parts = value if isinstance(value, list | tuple) else [value]
            values.update(part for part in parts if isinstance(part, str))
    folders = list(filter(os.path.isdir, values))
    paths = {os.path.join(folder, v) for folder in folders for v in {INDEX, *values}}
    paths |= values
    return {path: file_hash(path) for path in sorted(filter(os.path.isfile, paths))}
