"""The entrance of every command: settings of the process, and what a mistake prints."""

import linecache
import logging
import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from mmengine.logging import MMLogger

import mmseg_fastscnn
from mmseg_fastscnn.machine import reuse_large_blocks

PACKAGE = Path(mmseg_fastscnn.__file__).parent
MISTAKE, INTERRUPTED = (
    2,
    130,
)  # exit statuses: argparse's own, and the shell's for Ctrl-C
# How torch shows an error of a data loading worker: its traceback as text.
WORKER_FRAME = re.compile(r'File "(.+)", line (\d+), in ')


def run_command(main: Callable[[], None]) -> None:
    """Run a command; end it with one message and exit status 2 after a user's mistake.

    The traceback of a mistake goes to the log file, where the run has one. A fault of
    this project keeps its traceback on the terminal.
    """
    reuse_large_blocks()
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:
        message = mistake(error)
        if message is None:
            raise
        log_traceback(error)
        print(f'{Path(sys.argv[0]).name}: {message}', file=sys.stderr, flush=True)
        sys.exit(MISTAKE)


def mistake(error: Exception) -> str | None:
    """Return the message of an error that is a user's mistake, else None.

    These are what the package itself raises as ValueError, ImportError or OSError:
    such a `raise` is there for the user, with what was found and what to do. The same
    types out of torch, numpy or a line that computes are faults of ours. What the
    system refuses (a full disk, a file without permission) is the user's to mend too.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return str(error)
    if not isinstance(error, ValueError | ImportError | OSError):
        return None
    if raised_here(*last_frame(error)):
        return str(error)
    frames = WORKER_FRAME.findall(str(error))
    if 'in DataLoader worker process' in str(error) and frames:
        file, line = frames[-1]
        if raised_here(file, int(line)):
            return str(error).rpartition(f'\n{type(error).__name__}: ')[2].strip()
    return None


def last_frame(error: Exception) -> tuple[str, int]:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return frame.filename, frame.lineno


def raised_here(file: str, line: int) -> bool:
    """Return whether a line is a `raise` statement of this package."""
    in_package = PACKAGE in Path(file).parents
    return in_package and linecache.getline(file, line).lstrip().startswith('raise ')


def log_traceback(error: Exception) -> None:
    """Write a traceback to the log file of the run, if one has begun."""
    for handler in MMLogger.get_current_instance().handlers:
        if isinstance(handler, logging.FileHandler):
            handler.stream.write(''.join(traceback.format_exception(error)))
            handler.flush()
