"""Broken promises, and descriptions of errors that name the plugin's line."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path

from kdbench.errors import UserError, reason


class PromiseBroken(UserError):
    """A promise is broken. The message says what was observed."""


def require(kept: bool, otherwise: str) -> None:
    """Raise PromiseBroken with the message ``otherwise`` unless ``kept``."""
    if not kept:
        raise PromiseBroken(otherwise)


def told(error: BaseException, package: str) -> str:
    """Describe an exception in one line, with the last line of the plugin's own code in its traceback.

    Args:
        error: Exception that was raised while a promise was checked.
        package: Top-level package of the plugin.
    """
    if isinstance(error, PromiseBroken):
        return reason(error)
    frames = [frame for frame in _frames(error) if within(frame.filename, package)]
    return f"{reason(error)} ({place(frames[-1])})" if frames else reason(error)


def place(frame: traceback.FrameSummary) -> str:
    """Return the file, the number and the text of a line."""
    where = Path(frame.filename)
    return f"{where.parent.name}/{where.name}, line {frame.lineno}: {frame.line}"


def _frames(error: BaseException | None) -> Iterator[traceback.FrameSummary]:
    """Yield the frames from where an error was caught to where its first cause was raised."""
    while error is not None:
        yield from traceback.extract_tb(error.__traceback__)
        error = error.__cause__


def within(filename: str, package: str) -> bool:
    """Whether a file belongs to a top-level package."""
    path = Path(filename)
    return package in path.parts[:-1] or path.stem == package
