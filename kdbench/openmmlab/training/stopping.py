"""Stops a training: on Ctrl-C or SIGTERM, and when an iteration hangs instead of holding its GPU for ever."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import CheckpointHook, Hook

from kdbench.guests import Interruption

AGAIN = 1.0
"""Seconds after which a second signal is a second request: torchrun passes on what a terminal sent to all."""


class StepTimeout(Exception):
    """An iteration took longer than it may."""


class StepLimit:
    """Raise StepTimeout in the main thread when an iteration takes too long; another thread has no limit.

    Code that does not return to Python, such as a deadlock in a library, is not interrupted.

    Args:
        seconds: Seconds that an iteration may take; None for no limit.
    """

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds if threading.current_thread() is threading.main_thread() else None

    def start(self) -> None:
        """Start the timer."""
        if self.seconds is not None:
            signal.signal(signal.SIGALRM, self._stop)
            signal.setitimer(signal.ITIMER_REAL, self.seconds)

    def stop(self) -> None:
        """Stop the timer."""
        if self.seconds is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        raise StepTimeout(f"an iteration took more than {self.seconds:g} s")


class StopNow(Interruption):
    """The second request to stop: without a checkpoint."""


class Stop:
    """The request to stop: Ctrl-C or SIGTERM. Trainings watch for it while they run, several at once in a pack."""

    def __init__(self) -> None:
        self.signalled: float | None = None
        self._watching = 0
        self._previous: dict[int, Any] = {}

    def watch(self) -> None:
        """Take over the signals (only the main thread can)."""
        self._watching += 1
        if self._watching == 1 and threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._note)

    def release(self) -> None:
        """Restore the signal handlers once no training watches any more."""
        self._watching -= 1
        if not self._watching:
            for number, handler in self._previous.items():
                signal.signal(number, handler)
            self._previous = {}

    def asked(self) -> bool:
        """Whether any of the processes was asked to stop: they stop after the same iteration."""
        asked = torch.tensor(float(self.signalled is not None))
        all_reduce(asked, op="max")
        return bool(asked)

    def _note(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.signalled is not None and now - self.signalled > AGAIN:
            raise StopNow
        self.signalled = self.signalled or now


class StopHook(Hook):  # type: ignore[misc]
    """Stops a training at Ctrl-C or SIGTERM: after the optimizer's step, with a checkpoint; at once at a second.

    Args:
        stop: Holds the request.
    """

    priority = "LOWEST"

    def __init__(self, stop: Stop) -> None:
        self.stop = stop
        self.watching = False

    def before_train(self, runner: Any) -> None:
        """Begin to watch."""
        self.stop.watch()
        self.watching = True

    def after_train(self, runner: Any) -> None:
        """Stop watching; a signal during the last evaluation takes effect here."""
        self.restore()
        if self.stop.asked():
            raise KeyboardInterrupt

    def restore(self) -> None:
        """Stop watching, wherever the training ended."""
        if self.watching:
            self.stop.release()
        self.watching = False

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Stop if asked to, but not while gradients accumulate: no checkpoint holds them."""
        if not runner.optim_wrapper.should_update() or not self.stop.asked():
            return
        for hook in runner.hooks:
            if isinstance(hook, CheckpointHook):
                hook._save_checkpoint(runner)
        raise KeyboardInterrupt
