"""Run plugins' code so that it can neither end the process nor be mistaken for an interruption by the user."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

_EXIT = os._exit


class Interruption(KeyboardInterrupt):
    """A signal to stop, as opposed to a KeyboardInterrupt that some code raises itself."""


class Exited(BaseException):
    """A plugin called ``os._exit``."""


def interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """Handle a signal to stop. Raises Interruption."""
    raise Interruption


@contextmanager
def hosted() -> Iterator[None]:
    """Run a plugin's code in this thread.

    Raises:
        Interruption: On Ctrl-C, unless something else handles it.
        Exited: If the block calls ``os._exit``.
    """
    with _told_interruptions(), _no_exit():
        yield


@contextmanager
def _told_interruptions() -> Iterator[None]:
    """Make Ctrl-C raise Interruption instead of KeyboardInterrupt."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def _no_exit() -> Iterator[None]:
    """Make ``os._exit`` raise in this thread of this process; other threads, and forked processes, may exit."""
    if os._exit is not _EXIT:  # nested: a plugin's code runs inside another plugin's
        yield
        return
    here = os.getpid(), threading.get_ident()

    def refuse(status: int) -> NoReturn:
        if (os.getpid(), threading.get_ident()) == here:
            raise Exited(f"it called os._exit({status})")
        _EXIT(status)

    os._exit = refuse
    try:
        yield
    finally:
        os._exit = _EXIT
