"""How a command runs without torch: where it lacks, or an exported file predicts."""

import sys
from collections.abc import Callable
from pathlib import Path

from mmseg_fastscnn.commands import INTERRUPTED, MISTAKE
from mmseg_fastscnn.commands.mistakes import mistake
from mmseg_fastscnn.memory import reuse_large_blocks


def run_command(main: Callable[[], None], name: str | None = None) -> None:
    """Run a command; after a user's mistake, end with one message and exit status 2.

    Args:
        main: The command.
        name: What the command calls itself; by default the name of the program's file.
    """
    reuse_large_blocks()
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:
        message = mistake(error)
        if isinstance(error, ModuleNotFoundError):
            message = (
                f'{error.name} is not installed. Without torch and mmengine, only '
                f'fastscnn predict with an exported file runs; it needs numpy, '
                f'opencv-python, rich and the runtime of the file.'
            )
        if message is None:
            raise
        print(f'{name or Path(sys.argv[0]).name}: {message}', file=sys.stderr)
        sys.exit(MISTAKE)
