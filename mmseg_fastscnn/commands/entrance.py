"""How every command starts, and what it prints after a user's mistake."""

import linecache
import logging
import re
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.logging import MMLogger

import mmseg_fastscnn
from mmseg_fastscnn.commands import MISTAKE
from mmseg_fastscnn.commands.dead_worker import explain
from mmseg_fastscnn.engine.missing_ranks import lost_others, report_missing
from mmseg_fastscnn.engine.processes import ProcessesDiffer
from mmseg_fastscnn.machine import (
    end_at_once,
    leave_process_group,
    reuse_large_blocks,
)

PACKAGE = Path(mmseg_fastscnn.__file__).parent
INTERRUPTED = 130  # exit status after Ctrl-C, as the shell's
# torch shows the error of a data loading worker as its traceback in text.
WORKER_FRAME = re.compile(r'File "(.+)", line (\d+), in ')
CAUGHT = re.compile(r'Caught (\w+) in DataLoader worker process')


def run_command(main: Callable[[], None], name: str | None = None) -> None:
    """Run a command; after a user's mistake, end with one message and exit status 2.

    So it ends, too, where the processes of a run differ, or one of them is missing.

    The traceback of a mistake goes to the log file, if the run has one. A fault of this
    project keeps its traceback on the terminal.

    Args:
        main: The command.
        name: What the command calls itself; by default the name of the program's file.
    """
    say = partial(print_message, name or Path(sys.argv[0]).name)
    reuse_large_blocks()
    try:
        main()
    except SystemExit as end:
        leave_process_group(end.code)
        raise
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except ProcessesDiffer as error:
        if is_main_process():  # all of them raise it
            log_traceback(error)
            say(str(error))
        leave_process_group(MISTAKE)
    except Exception as error:
        message = mistake(error)
        if message is not None:
            log_traceback(error)
            say(message)
            sys.exit(MISTAKE)
        if not lost_others(error):
            raise
        log_traceback(error)
        report_missing(error, say)
        end_at_once(MISTAKE)
    leave_process_group()


def print_message(name: str, message: str) -> None:
    """Print a message after the command's name."""
    print(f'{name}: {message}', file=sys.stderr, flush=True)


def mistake(error: Exception) -> str | None:
    """Return the message of an error that is a user's mistake, None for other errors.

    A ValueError, ImportError or OSError from a `raise` statement of this project is
    meant for the user: it says what was found and what to do. The same types from
    torch, from numpy or from a line that computes are faults of ours. What the system
    refuses (a full disk, a file without permission, memory for a data loading worker)
    is the user's to mend, too.
    """
    died = explain(error)
    if died is not None:
        return died
    caught = CAUGHT.match(str(error))
    if caught is not None:
        return mistake_of_worker(caught[1], str(error))
    if isinstance(error, OSError) and error.errno is not None:
        return str(error)
    if not isinstance(error, ValueError | ImportError | OSError):
        return None
    return str(error) if raised_here(*last_frame(error)) else None


def mistake_of_worker(kind: str, text: str) -> str | None:
    """Return the message of an error in a data loading worker, see `mistake`.

    torch raises an error of the same type, or RuntimeError if that takes other
    arguments.

    Args:
        kind: Name of the type of the error, without its module.
        text: torch's text, which ends in the worker's traceback.
    """
    # the name begins a line, after its module where that is not Python's own
    _, *after = re.split(rf'^(?:\w+\.)*{kind}: ', text, flags=re.MULTILINE)
    frames = WORKER_FRAME.findall(text)
    if not after or not frames:
        return None
    message, (file, line) = after[-1].strip(), frames[-1]
    of_system = message.startswith('[Errno ')
    return message if of_system or raised_here(file, int(line)) else None


def last_frame(error: Exception) -> tuple[str, int]:
    """Return the file and the line that raised an error."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return frame.filename, frame.lineno


def raised_here(file: str, line: int) -> bool:
    """Return whether a line is a `raise` statement of the package."""
    is_ours = PACKAGE in Path(file).parents
    return is_ours and linecache.getline(file, line).lstrip().startswith('raise ')


def log_traceback(error: Exception) -> None:
    """Write a traceback to the log file of the run, if one has begun."""
    for handler in MMLogger.get_current_instance().handlers:
        if isinstance(handler, logging.FileHandler):
            handler.stream.write(''.join(traceback.format_exception(error)))
            handler.flush()
