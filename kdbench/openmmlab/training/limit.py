"""A limit on the time of an iteration, so that a method that hangs fails instead of holding its GPU for ever."""

from __future__ import annotations

import signal
import threading
from types import FrameType


class StepTimeout(Exception):
    """An iteration took longer than it may."""


class StepLimit:
    """Raise StepTimeout in the main thread when an iteration takes too long; another thread has no limit.

    Code that does not come back to Python, such as a deadlock of a library, is not interrupted.

    Args:
        seconds: What an iteration may take, s; None: any time.
    """

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds if threading.current_thread() is threading.main_thread() else None

    def start(self) -> None:
        """Begin to count."""
        if self.seconds is not None:
            signal.signal(signal.SIGALRM, self._stop)
            signal.setitimer(signal.ITIMER_REAL, self.seconds)

    def stop(self) -> None:
        """Count no more."""
        if self.seconds is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        raise StepTimeout(f"an iteration took more than {self.seconds:g} s")
