"""End a stream of frames in good order after Ctrl-C or SIGTERM."""

import signal
import time
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """While this context lasts, the first signal is noted; a second one ends at once.

    A signal that is ignored, as SIGINT of a shell's background job, stays ignored.

    Attributes:
        number: The signal that came, or 0.
    """

    def __init__(self):
        self.number = 0

    def __enter__(self) -> 'StopSignals':
        self.former = {known: signal.getsignal(known) for known in SIGNALS}
        for known, handler in self.former.items():
            if handler != signal.SIG_IGN:
                signal.signal(known, self._note)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        for known in SIGNALS:
            signal.signal(known, signal.SIG_IGN)
        time.sleep(0.1)  # `timeout` sends a signal twice
        for known in SIGNALS:
            signal.signal(known, signal.SIG_DFL)

    def __exit__(self, *error: object) -> None:
        for known, handler in self.former.items():
            signal.signal(known, handler or signal.SIG_DFL)
