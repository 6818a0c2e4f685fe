"""The files of a run's log: one per run, and training goes on if they fail.

Logs that cannot be written, as on a full disk, lose lines. What could not be written of
the text log is kept in memory until the disk takes it.
"""

import logging
import sys
import time
from collections.abc import Callable

from mmengine.logging import MMLogger
from mmengine.visualization import LocalVisBackend as LocalVisBackendOfMMEngine

from mmseg_fastscnn.registry import VISBACKENDS

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
