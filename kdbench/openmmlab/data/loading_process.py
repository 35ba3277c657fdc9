"""Data loading processes leave it to the training process to react to signals."""

from __future__ import annotations

import os
import signal
import threading


def leave_signals(number: int) -> None:
    """Let this data loading process, the ``number``-th, end by a signal of its parent only.

    A terminal's Ctrl-C goes to all processes, and so does a scheduler's SIGTERM before it takes a machine away.
    The training process writes a checkpoint then, for which it may need further batches; and torch raises an
    error in it when a data loading process is killed, with which the run would have failed.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_await_parent, daemon=True).start()


def _await_parent() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)
