"""Runs code of plugins so that it can neither end the process nor pass for a user who interrupts it."""

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
    """A signal asks to stop. Code that raises KeyboardInterrupt itself does not raise this."""


class Exited(BaseException):
    """A plugin called ``os._exit``."""


def interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """Handle a signal that asks to stop. Raises Interruption."""
    raise Interruption


@contextmanager
def hosted() -> Iterator[None]:
    """Run code of a plugin in this thread.

    Raises:
        Interruption: On Ctrl-C, where nothing else handles it.
        Exited: If the block calls ``os._exit``.
    """
    with _told_interruptions(), _no_exit():
        yield


@contextmanager
def _told_interruptions() -> Iterator[None]:
    """Let Ctrl-C raise Interruption where it would raise KeyboardInterrupt."""
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
    """Let ``os._exit`` raise in this thread of this process; other threads, and forked processes, may exit."""
    if os._exit is not _EXIT:  # in a part of a plugin that is run by another one
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
