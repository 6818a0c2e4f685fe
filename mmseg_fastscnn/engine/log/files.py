"""A run's log: a file per run, without which training goes on, and the terminal.

Logs that cannot be written, as on a full disk, lose lines. What could not be written of
the text log is kept in memory until the disk takes it. The file has every line, the
terminal all but some lines of mmengine, which are named here.
"""

import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path

import mmengine
from mmengine.logging import MMLogger
from mmengine.visualization import LocalVisBackend as LocalVisBackendOfMMEngine

from mmseg_fastscnn.registry import VISBACKENDS

MMENGINE = Path(mmengine.__file__).parent
LOGGER_HOOK = 'hooks/logger_hook.py'
# Functions of mmengine whose lines are of no use to a user, or repeat what the header
# of the run says.
NOT_SHOWN = {
    ('runner/runner.py', '__init__'),  # the order of all hooks
    ('runner/runner.py', '_log_env'),  # versions, and the whole config
    ('runner/runner.py', 'wrap_model'),  # SyncBN becomes BN in a single process
    ('runner/runner.py', 'resume'),  # the header says at which iteration it goes on
    ('model/base_module.py', '_dump_init_info'),  # how each weight was initialised
}
# Who called mmengine's `print_log` cannot be seen, so its lines are told by their text.
NOT_PRINTED = (
    '"FileClient" will be deprecated',  # mmengine's own call of its own class
    '"HardDiskBackend" is the alias',
    'paramwise_options -- ',  # three lines for each parameter; the log file has them
    'Resumed iteration number is not divisible',  # the gradients are restored, too
)

started: set[int] = set()  # seconds in which runs of this process began


def wait_for_another_second() -> None:
    """Wait until no run of this process has begun in the current second.

    mmengine names the log and the state of a run by the second, so two runs would share
    them.
    """
    while int(time.time()) in started:
        time.sleep(0.02)
    started.add(int(time.time()))


class SaidOnce:
    """Warn once that a log cannot be written."""

    def __init__(self):
        self.said = False

    def __call__(self, path: str, error: object) -> None:
        if not self.said:
            self.said = True  # before the warning, which the same log may get
            MMLogger.get_current_instance().warning(
                f'{path} cannot be written ({error}). Training goes on; lines may be '
                f'missing there.'
            )


def write_lines_or_warn(handler: logging.FileHandler) -> None:
    """Say once that a log file cannot be written, instead of a traceback per line."""
    say = SaidOnce()
    handler.handleError = lambda record: say(handler.baseFilename, sys.exc_info()[1])


@VISBACKENDS.register_module()
class LocalVisBackend(LocalVisBackendOfMMEngine):
    """mmengine's LocalVisBackend, whose files may fail without ending the training."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.say = SaidOnce()

    def add_config(self, *args, **kwargs) -> None:
        self._try(super().add_config, *args, **kwargs)

    def add_image(self, *args, **kwargs) -> None:
        self._try(super().add_image, *args, **kwargs)

    def add_scalar(self, *args, **kwargs) -> None:
        self._try(super().add_scalar, *args, **kwargs)

    def add_scalars(self, *args, **kwargs) -> None:
        self._try(super().add_scalars, *args, **kwargs)

    def _try(self, write: Callable, *args, **kwargs) -> None:
        try:
            write(*args, **kwargs)
        except OSError as error:
            self.say(str(error.filename or 'scalars.json'), error)


def is_shown(record: logging.LogRecord) -> bool:
    """Return whether a record of the log belongs on the terminal."""
    path = Path(record.pathname)
    if MMENGINE not in path.parents:
        return True
    module, message = path.relative_to(MMENGINE).as_posix(), record.getMessage()
    if module == LOGGER_HOOK:
        return False  # `ProgressHook` shows what matters of these lines
    if record.funcName == 'print_log' and message.startswith(NOT_PRINTED):
        return False
    return (module, record.funcName) not in NOT_SHOWN
