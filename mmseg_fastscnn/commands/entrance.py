"""How every command starts, and what it prints after a user's mistake."""

import logging
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mmengine.dist import is_distributed, is_main_process
from mmengine.logging import MMLogger

from mmseg_fastscnn.commands import INTERRUPTED, MISTAKE
from mmseg_fastscnn.commands.mistakes import mistake
from mmseg_fastscnn.engine.missing_ranks import lost_others, report_missing
from mmseg_fastscnn.engine.processes import ProcessesDiffer
from mmseg_fastscnn.machine import end_at_once, leave_process_group
from mmseg_fastscnn.memory import reuse_large_blocks


def run_command(main: Callable[[], None], name: str | None = None) -> None:
    """Run a command; after a user's mistake, end with one message and exit status 2.

    It ends in the same way if the processes of a run differ, or one of them is missing.

    The traceback of a mistake goes to the log file, if the run has one. A fault of this
    project keeps its traceback on the terminal.

    Args:
        main: The command.
        name: What the command calls itself; by default the name of the program's file.
    """
    name = name or Path(sys.argv[0]).name

    def say(message: str) -> None:
        print(f'{name}: {message}', file=sys.stderr, flush=True)

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
        is_lost = lost_others(error)
        message = None if is_lost else mistake(error)
        if message is None and not is_lost:
            raise
        log_traceback(error)
        if is_lost:
            report_missing(error, say)
        else:
            say(message)
        if is_distributed():  # NCCL may wait for the others in Python's shutdown
            end_at_once(MISTAKE)
        sys.exit(MISTAKE)
    leave_process_group()


def log_traceback(error: Exception) -> None:
    """Write a traceback to the log file of the run, if one has begun."""
    for handler in MMLogger.get_current_instance().handlers:
        if isinstance(handler, logging.FileHandler):
            with suppress(OSError):  # the disk is full; the message is still said
                handler.stream.write(''.join(traceback.format_exception(error)))
                handler.flush()
