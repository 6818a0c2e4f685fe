"""Note the first signal to end a process, so that it can end in good order."""

import signal
import time
from collections.abc import Collection
from types import FrameType


class StopSignals:
    """While this context lasts, the first signal is noted; a second one ends at once.

    A signal that is ignored, as SIGHUP under `nohup`, stays ignored.

    Args:
        signals: Which ones are noted.

    Attributes:
        number: The signal that came, or 0.
    """

    def __init__(self, signals: Collection[int]):
        self.signals = signals
        self.number = 0

    def __enter__(self) -> 'StopSignals':
        self.former = {known: signal.getsignal(known) for known in self.signals}
        for known, handler in self.former.items():
            if handler != signal.SIG_IGN:
                signal.signal(known, self._note)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        for known in self.signals:
            signal.signal(known, signal.SIG_IGN)
        time.sleep(0.1)  # `timeout` sends a signal twice
        for known in self.signals:
            signal.signal(known, signal.SIG_DFL)

    def __exit__(self, *error: object) -> None:
        for known, handler in self.former.items():
            signal.signal(known, handler or signal.SIG_DFL)
