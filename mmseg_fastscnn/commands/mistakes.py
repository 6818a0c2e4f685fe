"""Which errors are a user's mistake, with a message, and which are faults of ours."""

import linecache
import re
import traceback
from pathlib import Path

import mmseg_fastscnn
from mmseg_fastscnn.commands import dead_worker, gpu_errors
from mmseg_fastscnn.memory import available_memory

PACKAGE = Path(mmseg_fastscnn.__file__).parent
# torch shows the error of a data loading worker as its traceback in text.
WORKER_FRAME = re.compile(r'File "(.+)", line (\d+), in ')
CAUGHT = re.compile(r'Caught (\w+) in DataLoader worker process')
# what torch and OpenCV say; NumPy raises a MemoryError
NO_MEMORY = re.compile("can't allocate memory|Insufficient memory")
# mmengine's functions that call a class with what a config says
BUILDERS = ('build_from_cfg', 'build_scheduler_from_cfg', 'build_dataloader')


def mistake(error: Exception) -> str | None:
    """Return the message of an error that is a user's mistake, None for other errors.

    A ValueError, ImportError or OSError from a `raise` statement of this project is
    meant for the user: it says what was found and what to do. The same types from
    torch, from numpy or from a line that computes are faults of ours. What the system
    refuses (a full disk, a file without permission, memory, a connection to other
    processes) is the user's to mend, too, and so is a setting of a config that a class
    refuses, whoever wrote the class.
    """
    explained = dead_worker.explain(error) or gpu_errors.explain(error)
    if explained is not None:
        return explained
    caught = CAUGHT.match(str(error))
    if caught is not None:
        return mistake_of_worker(caught[1], str(error))
    if isinstance(error, MemoryError) or NO_MEMORY.search(str(error)):
        return (
            f'There is too little memory ({str(error).strip()}): {available_memory()}. '
            f'Take smaller images or batches.'
        )
    if isinstance(error, OSError) and error.errno is not None:
        return str(error)
    if (refusal := refused_setting(error)) is not None:
        return refusal
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


def refused_setting(error: Exception) -> str | None:
    """Return the message of a class that refuses its settings in a config.

    It does so if a `raise` or `assert` statement in its `__init__`, or in one that this
    calls, ends mmengine's attempt to build it.
    """
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    names = [frame.f_code.co_name for frame in frames]
    built = [k for k, name in enumerate(names) if name in BUILDERS]
    inner = names[built[-1] + 1 :] if built else []
    if not inner or set(inner) != {'__init__'}:
        return None
    statement = linecache.getline(*last_frame(error)).lstrip()
    if not statement.startswith('raise ') and not isinstance(error, AssertionError):
        return None
    kind = type(frames[built[-1] + 1].f_locals['self']).__name__
    reason = ' '.join(str(error).split()) or statement.strip()
    return f'{kind} refuses its settings in the config: {reason}'


def last_frame(error: Exception) -> tuple[str, int]:
    """Return the file and the line that raised an error."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return frame.filename, frame.lineno


def raised_here(file: str, line: int) -> bool:
    """Return whether a line is a `raise` statement of the package."""
    is_ours = PACKAGE in Path(file).parents
    return is_ours and linecache.getline(file, line).lstrip().startswith('raise ')
