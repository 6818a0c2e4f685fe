"""The checkpoints that runs leave in a work dir: find the last, mix no two runs."""

import errno
import os
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from mmseg_fastscnn.checkpoint import read_checkpoint
from mmseg_fastscnn.engine.checkpoints import POINTER, checkpoint_folder
from mmseg_fastscnn.engine.processes import is_first

WAIT = 10  # seconds for another run to end
OF_A_RUN = re.compile(r'((iter|epoch)_\d+|best_.+)\.pth')  # names that training writes


def last_checkpoint(work_dir: str | Path) -> Path | None:
    """Return the file that the pointer names, even if the work dir was moved.

    Returns:
        Its path, unread; None if the pointer is missing or empty or names no path.
    """
    pointer = Path(work_dir, POINTER)
    text = pointer.read_bytes() if pointer.is_file() else b''
    named = Path(text.decode('utf-8', 'replace').split('\n')[0].strip())
    if not named.name or '\0' in named.name:
        return None
    moved = Path(work_dir, named.name)
    return moved if os.path.exists(moved) else named  # also where a name is too long


def folder_in(config: Config) -> Path:
    """Return where the run of a config keeps its checkpoints."""
    hooks = config.get('default_hooks') or {}
    out_dir = (hooks.get('checkpoint') or {}).get('out_dir')
    return checkpoint_folder(config.work_dir, out_dir)


def checkpoints_of_runs(config: Config) -> list[Path]:
    """Return the checkpoints in the folders of a run by name, the best ones last."""
    folders = {Path(config.work_dir), folder_in(config)}
    files = [file for folder in folders for file in folder.glob('*.pth')]
    of_runs = (file for file in files if OF_A_RUN.fullmatch(file.name))
    return sorted(of_runs, key=lambda file: (file.name.startswith('best_'), file))


def checkpoint_to_resume(config: Config) -> Path | None:
    """Return the checkpoint from which the run in a work dir goes on.

    It is the one that the pointer names or, if that cannot be resumed, of all others
    the one after the most iterations. The first process prints what is passed over,
    and why.

    Returns:
        Its path; None if there are no checkpoints.

    Raises:
        ValueError: There are checkpoints, but none can be resumed.
    """
    named = last_checkpoint(config.work_dir)
    others = [f for f in checkpoints_of_runs(config) if f != named]
    passed_over, found = [], {}
    if named is None and others:
        pointer = Path(config.work_dir, POINTER)
        passed_over.append(f'{pointer} is missing, or names no checkpoint.')
    for path in [*([] if named is None else [named]), *others]:
        try:
            found[path] = iterations(path)
        except (ValueError, OSError) as error:
            # best ones of earlier versions hold weights alone
            if path == named or not path.name.startswith('best_'):
                passed_over.append(str(error))
        if named in found:
            break
    result = max(found, key=found.get, default=None)
    if result is None and (passed_over or others):
        raise ValueError(
            f'No checkpoint in {config.work_dir} can be resumed:\n'
            + '\n'.join(passed_over or map(str, others))
            + '\n--overwrite begins anew there.'
        )
    if passed_over and is_first(config.get('launcher', 'none')):
        for text in passed_over:
            print(f'Passed over: {text}')
        print(f'Going on from {result}, after {found[result]} iterations.')
    return result


def iterations(path: Path) -> int:
    """Return after how many iterations a checkpoint was written.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It cannot be resumed.
    """
    checkpoint = read_checkpoint(path)
    count = checkpoint['meta'].get('iter')
    if 'optimizer' not in checkpoint or type(count) is not int:
        raise ValueError(f'{path} holds weights but no state of a run to resume.')
    return count


def check_work_dir(config: Config, overwrite: bool = False) -> None:
    """Check that training will not write over checkpoints that are there.

    Args:
        config: The run.
        overwrite: Whether those of an earlier run may be replaced.

    Raises:
        ValueError: There are checkpoints in the work dir, or the one that training
            starts from lies there and has a name that training would write; or nothing
            can be written there.
    """
    if is_first(config.get('launcher', 'none')):  # others could remove what it made
        check_writable(Path(config.work_dir))
    if config.get('resume'):
        return
    folders = [Path(config.work_dir).resolve(), folder_in(config).resolve()]
    start = Path(config.get('load_from') or '')
    if start.resolve().parent in folders and OF_A_RUN.fullmatch(start.name):
        raise ValueError(
            f'--load-from {start} lies in the work dir, or in out_dir of the '
            f'checkpoints, where training would write over it. Choose another '
            f'--work-dir, or go on with that run by --resume.'
        )
    files = checkpoints_of_runs(config)
    if files and not overwrite:
        names = ', '.join(str(file) for file in files[:3])
        raise ValueError(
            f'There are {len(files)} checkpoints of an earlier run: {names}. Go on '
            f'with it by --resume, choose another --work-dir, or begin anew by '
            f'--overwrite, which removes them.'
        )


def check_writable(folder: Path) -> None:
    """Raise ValueError if a folder cannot be made and written to; leave none behind."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise ValueError(
            f'--work-dir {folder} cannot be written to ({error.strerror}); choose '
            f'another.'
        ) from error
    finally:
        with suppress(OSError):  # another process writes there already
            for path in missing:
                path.rmdir()


@contextmanager
def alone_in(config: Config) -> Iterator[None]:
    """Keep other runs out of the work dir, where both would write the same files.

    The first process locks the folder itself. Its loading workers hold the lock as
    well, which may outlive it for some seconds after a kill; so long is waited.

    Raises:
        ValueError: Another run works there, or nothing can be written there.
    """
    if not is_first(config.get('launcher', 'none')):
        yield
        return
    folder = Path(config.work_dir)
    check_writable(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        try:
            import fcntl  # there is none on Windows

            handle = os.open(folder, os.O_RDONLY)
            held.callback(os.close, handle)
            end = time.monotonic() + WAIT
            while not locks(fcntl, handle) and time.monotonic() < end:
                time.sleep(0.2)
            if not locks(fcntl, handle):
                raise ValueError(
                    f'Another run works in {folder}. Wait for its end, or choose '
                    f'another --work-dir.'
                )
        except (ImportError, OSError) as error:
            print(f'{folder} cannot be locked ({error}): start no other run there now.')
        yield


def locks(fcntl, handle: int) -> bool:
    """Lock a file for this process, if no other has it locked."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class RemoveEarlierRun(Hook):
    """Remove the checkpoints of an earlier run just before the first step."""

    priority = 'LOWEST'  # after all checks, which may end the run

    def before_train(self, runner) -> None:
        if not is_main_process():
            return
        files = checkpoints_of_runs(runner.cfg)
        # the pointer first: it must not name a file that is gone
        for file in [Path(runner.work_dir, POINTER), *files]:
            file.unlink(missing_ok=True)
        runner.logger.info('%d checkpoints of an earlier run removed.', len(files))
