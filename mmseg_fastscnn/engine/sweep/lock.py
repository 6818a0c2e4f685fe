"""A sweep has its folder for itself, and knows the files that its runs name."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mmengine.config import Config

from mmseg_fastscnn.datasets.soft_layout import file_hash

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
    """Return the files that a run names, such as lists of images and weights.

    A name is looked for in the folders that are named as well, such as `data_root`.

    Args:
        words: The arguments of the run.
        cfg: Its config.

    Returns:
        The hash of each, by its path.
    """
    values = {word.rpartition('=')[2] for word in words}
    if cfg is not None:
        values.update(texts_in(cfg.to_dict()))
    folders = ['', *sorted(filter(os.path.isdir, values))]
    paths = {os.path.join(folder, value) for folder in folders for value in values}
    return {path: file_hash(path) for path in sorted(filter(os.path.isfile, paths))}


def texts_in(settings: object) -> Iterator[str]:
    """Yield the texts in nested dicts and lists."""
    if isinstance(settings, str):
        yield settings
    elif isinstance(settings, dict | list | tuple):
        parts = settings.values() if isinstance(settings, dict) else settings
        for part in parts:
            yield from texts_in(part)
