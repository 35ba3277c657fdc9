"""How a promise fails, and whose fault it is, in one line."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path

from kdbench.errors import UserError, reason


class PromiseBroken(UserError):
    """A promise is not kept. The message says what was seen."""


def require(kept: bool, otherwise: str) -> None:
    """Raise PromiseBroken with the message ``otherwise`` unless the promise is kept."""
    if not kept:
        raise PromiseBroken(otherwise)


def told(error: BaseException, package: str) -> str:
    """Return an exception in one line, with the last line of the plugin's own code on the way to it.

    Args:
        error: What was raised while a promise was looked at.
        package: Top-level package of the plugin.
    """
    if isinstance(error, PromiseBroken):
        return reason(error)
    frames = [frame for frame in _frames(error) if within(frame.filename, package)]
    return f"{reason(error)} ({place(frames[-1])})" if frames else reason(error)


def place(frame: traceback.FrameSummary) -> str:
    """Return where a line is, and the line."""
    where = Path(frame.filename)
    return f"{where.parent.name}/{where.name}, line {frame.lineno}: {frame.line}"


def _frames(error: BaseException | None) -> Iterator[traceback.FrameSummary]:
    """From where it was caught to where it was raised first."""
    while error is not None:
        yield from traceback.extract_tb(error.__traceback__)
        error = error.__cause__


def within(filename: str, package: str) -> bool:
    """Whether a file is of a top-level package."""
    path = Path(filename)
    return package in path.parts[:-1] or path.stem == package
