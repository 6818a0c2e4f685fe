"""How a command runs where torch is not installed: an exported file predicts there."""

import sys
from collections.abc import Callable

from mmseg_fastscnn.commands import MISTAKE
from mmseg_fastscnn.commands.mistakes import mistake

INTERRUPTED = 130  # exit status after Ctrl-C, as the shell's


def run_command(main: Callable[[], None], name: str | None = None) -> None:
    """Run a command; after a user's mistake, end with one message and exit status 2.

    Args:
        main: The command.
        name: What the command calls itself.
    """
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:
        message = mistake(error)
        if isinstance(error, ModuleNotFoundError):
            message = (
                f'{error.name} is not installed. Without torch and mmengine exported '
                f'files predict, and nothing else runs; that needs numpy, '
                f'opencv-python, rich and the runtime of the file.'
            )
        if message is None:
            raise
        print(f'{name}: {message}', file=sys.stderr)
        sys.exit(MISTAKE)
