"""The errors that are shown to a user as one line, and how they are worded."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

    from kdbench.results.record import Record

log = logging.getLogger(__name__)
SECONDS = 20.0
"""How long a plugin's code may take before :func:`reminder` names it."""


class UserError(Exception):
    """A mistake the user can mend: the command line prints it as one line and exits with code 2.

    The message says what is wrong and what to do about it.
    """


class ArgumentError(UserError):
    """An argument of a function of :mod:`kdbench` cannot be used; the command line names its option instead.

    Args:
        names: Name of the argument, or names of several that do not fit together.
        why: What is wrong and what to do about it.
        value: The argument's value, if the message is to show it.
    """

    def __init__(self, names: str | Sequence[str], why: str, value: object = None) -> None:
        self.names = (names,) if isinstance(names, str) else tuple(names)
        self.why, self.value = why, value
        super().__init__(self.message(lambda name: name))

    def message(self, named: Callable[[str], str]) -> str:
        """Return the message with each argument's name as ``named`` gives it."""
        shown = " and ".join(map(named, self.names))
        return f"{shown}: {self.why}" if self.value is None else f"{shown} {self.value}: {self.why}"


class RunError(Exception):
    """A training failed and is recorded as failed; the message says why.

    Args:
        message: Why it failed, and what to look at.
        record: The failed record.
    """

    def __init__(self, message: str, record: Record) -> None:
        super().__init__(message)
        self.record = record


class PluginError(UserError):
    """A plugin's code failed or returned something invalid; the message names the plugin."""


def explain(error: ValidationError) -> str:
    """Return the first problem of a validation in one line."""
    where, why, _ = first_problem(error)
    return " ".join(f"{where}: {why}".split()) if where else why


def first_problem(error: ValidationError) -> tuple[str, str, object]:
    """Return the first problem of a validation: the dotted path of the value, what is wrong, and the value."""
    first = error.errors(include_url=False, include_context=False)[0]
    why = " ".join(first["msg"].split()).replace("Value error, ", "")
    return ".".join(str(part) for part in first["loc"]), why, first["input"]


@contextmanager
def checking_arguments() -> Iterator[None]:
    """Turn what pydantic says of a bad value into an error that names the argument.

    Raises:
        ArgumentError: If the block raises a ValidationError.
    """
    from pydantic import ValidationError

    try:
        yield
    except ValidationError as error:
        where, why, value = first_problem(error)
        raise ArgumentError(where.partition(".")[0], f"{why}.", value) from error


def reason(error: BaseException) -> str:
    """Return an error in one line: its type and message, or the message alone of a user's mistake."""
    text = " ".join(str(error).split())
    if isinstance(error, UserError):
        return text
    return f"{type(error).__name__}: {text}".removesuffix(": ")


@contextmanager
def running(title: str, part: str, advice: str = "") -> Iterator[None]:
    """Run a part of a plugin; what it raises becomes an error that names the plugin.

    A user's mistake, a lack of memory and Ctrl-C pass through as they are.

    Args:
        title: What the plugin provides, as :attr:`kdbench.plugins.Offer.title` names it.
        part: The part, for the message: ``losses()``.
        advice: A sentence to end the message with.

    Raises:
        PluginError: If the block raises anything else.
    """
    try:
        yield
    except (Exception, SystemExit) as error:
        if isinstance(error, UserError) or _is_out_of_memory(error):
            raise
        raise PluginError(f"{title} failed in {part}: {reason(error)}{advice and f'. {advice}'}") from error


def _is_out_of_memory(error: BaseException) -> bool:
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in str(error)
    )


@contextmanager
def reminder(line: str, after: float = 0.0) -> Iterator[None]:
    """Log a warning when the block takes longer than it should, so that code that hangs is named.

    Args:
        line: The warning.
        after: Seconds that the block should take at most; ``SECONDS`` more are waited.
    """
    timer = threading.Timer(after + SECONDS, log.warning, (line,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
