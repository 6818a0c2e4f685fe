"""Write files whole or not at all."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def whole_file(path: str | Path) -> Iterator[BinaryIO]:
    """Open a file that takes the place of `path` once it is complete and on the disk.

    Whatever happens before, a kill or a full disk, `path` is what it was. Its folder is
    made if needed. A killed program may leave `.NAME.PROCESS.part` in it.

    Yields:
        A file to write to.

    Raises:
        OSError: The system refuses; the error names `path`.
    """
    path = Path(path)
    draft = draft_of(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open('wb') as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        flush_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):  # of a disk that refuses this, too
            draft.unlink(missing_ok=True)
        is_ours = isinstance(error, OSError) and error.filename in (None, str(draft))
        if is_ours and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def write_file(path: str | Path, content: bytes | memoryview) -> None:
    """Write a file of this content; see `whole_file`."""
    with whole_file(path) as file:
        file.write(content)


def draft_of(path: Path) -> Path:
    """Return the name under which this process writes a file before it is complete."""
    return path.with_name(f'.{path.name}.{os.getpid()}.part')


def second_name(source: Path, path: Path) -> None:
    """Give a file a second name in its folder, as a whole or not at all.

    Where the file system has no hard links the file is copied.
    """
    draft = draft_of(path)
    draft.unlink(missing_ok=True)
    try:
        os.link(source, draft)
    except OSError:  # no hard links here, or nothing can be written: the copy says so
        with whole_file(path) as file, source.open('rb') as content:
            shutil.copyfileobj(content, file)
        return
    draft.replace(path)
    # a rename leaves the draft if both names are already of one file
    draft.unlink(missing_ok=True)
    flush_folder(path.parent)


def remove_drafts(folder: Path, names: str) -> None:
    """Remove what killed processes left of files that they were writing.

    Args:
        folder: The folder; its subfolders are left alone.
        names: Regular expression of the names of the complete files.
    """
    for draft in folder.glob('.*.part'):
        parts = re.fullmatch(rf'\.(?:{names})\.(\d+)\.part', draft.name)
        if parts and not is_running(int(parts[parts.lastindex])):
            draft.unlink(missing_ok=True)


def is_running(process: int) -> bool:
    """Return whether there is another process of this number on this machine."""
    if process == os.getpid():
        return False  # of an earlier container, whose processes had the same numbers
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # it is of another user
    return True


def flush_folder(folder: Path) -> None:
    """Bring a folder's list of names to the disk, where the system can do that."""
    if os.name == 'posix':
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
