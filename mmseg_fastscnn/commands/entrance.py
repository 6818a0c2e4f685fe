"""How every command starts, and what it prints after a user's mistake."""

import linecache
import logging
import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from mmengine.logging import MMLogger

import mmseg_fastscnn
from mmseg_fastscnn.machine import leave_process_group, reuse_large_blocks

PACKAGE = Path(mmseg_fastscnn.__file__).parent
# Exit statuses: argparse's for a wrong argument, the shell's for Ctrl-C.
MISTAKE, INTERRUPTED = 2, 130
# torch shows the error of a data loading worker as its traceback in text.
WORKER_FRAME = re.compile(r'File "(.+)", line (\d+), in ')


def run_command(main: Callable[[], None]) -> None:
    """Run a command; after a user's mistake, end with one message and exit status 2.

    The traceback of a mistake goes to the log file, if the run has one. A fault of this
    project keeps its traceback on the terminal.

    Args:
        main: The command: it parses the arguments and does the work.
    """
    reuse_large_blocks()
    try:
        main()
    except SystemExit as end:
        leave_process_group(end.code)
        raise
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
    """Return the message of an error that is a user's mistake, None for other errors.

    A ValueError, ImportError or OSError from a `raise` statement of this project is
    meant for the user: it says what was found and what to do. The same types from
    torch, from numpy or from a line that computes are faults of ours. What the system
    refuses (a full disk, a file without permission) is the user's to mend, too.
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
    """Return the file and the line that raised an error."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return frame.filename, frame.lineno


def raised_here(file: str, line: int) -> bool:
    """Return whether a line is a `raise` statement of the package or the command."""
    is_command = Path(file).resolve() == Path(sys.argv[0]).resolve()
    is_ours = is_command or PACKAGE in Path(file).parents
    return is_ours and linecache.getline(file, line).lstrip().startswith('raise ')


def log_traceback(error: Exception) -> None:
    """Write a traceback to the log file of the run, if one has begun."""
    for handler in MMLogger.get_current_instance().handlers:
        if isinstance(handler, logging.FileHandler):
            handler.stream.write(''.join(traceback.format_exception(error)))
            handler.flush()
