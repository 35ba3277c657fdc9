"""Errors that are shown to the user as one line, and the functions that word them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kdbench.guests import Interruption, hosted
from kdbench.text import line

if TYPE_CHECKING:
    from pydantic import ValidationError

    from kdbench.results.record import Record

log = logging.getLogger(__name__)
MESSAGE = 300
"""Maximum number of characters shown of the message of a plugin's error."""
ERROR = "error: "
"""Prefix of the line in which a command reports a user's mistake."""
SECONDS = 20.0
"""Seconds that a plugin's code may take before :func:`reminder` names it."""


TYPES = {"int", "float", "str", "bool"}
"""Names that pydantic adds to the path of a value whose type is a union."""


class UserError(Exception):
    """A mistake that the user can fix: the command line prints it as one line and exits with code 2.

    The message says what is wrong and what to do about it. It names arguments of the functions of :mod:`kdbench` in
    backticks (```root```, ```force=True```), which the command line replaces by its options.
    """


class ArgumentError(UserError):
    """An argument of a function of :mod:`kdbench` cannot be used.

    Args:
        names: Name of the argument, or names of several arguments that contradict each other.
        why: What is wrong and what to do about it.
        value: The argument's value, if the message should show it.
    """

    def __init__(self, names: str | Sequence[str], why: str, value: object = None) -> None:
        shown = " and ".join(f"`{name}`" for name in ([names] if isinstance(names, str) else names))
        super().__init__(f"{shown}: {why}" if value is None else f"{shown} {value}: {why}")


class GateError(UserError):
    """A check before a training failed, which the argument ``force`` overrules.

    Args:
        why: What was found and what to check, in complete sentences.
    """

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(f"{why} To go on all the same, give `force=True`.")


class RunError(Exception):
    """A training failed and is recorded as failed; the message says why.

    Args:
        message: Why it failed, and what to check.
        record: Record of the failed training.
    """

    def __init__(self, message: str, record: Record) -> None:
        super().__init__(message)
        self.record = record


class Disturbed(Exception):
    """State that all trainings of this process share was changed; the message names it."""


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
    where = [str(part) for part in first["loc"] if part not in TYPES]
    return ".".join(where), why, first["input"]


@contextmanager
def checking_arguments() -> Iterator[None]:
    """Turn a pydantic validation error into an error that names the argument.

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
    """Return an error as one printable line: type and message, or only the message for a user's mistake."""
    try:
        text = str(error)
    except Exception:  # a plugin's exception may fail here too
        text = ""
    if isinstance(error, UserError):
        return line(text)
    return line(f"{type(error).__name__}: {text}".removesuffix(": "), MESSAGE)


@contextmanager
def running(title: str, part: str, advice: str = "") -> Iterator[None]:
    """Run a part of a plugin and turn its exceptions into errors that name the plugin.

    User errors, out-of-memory errors, Ctrl-C and other signals to stop pass through unchanged. An attempt to end
    the process with ``os._exit`` is an error like any other.

    Args:
        title: Name of what the plugin provides, see :attr:`kdbench.offers.Offer.title`.
        part: The part that runs, for the message, such as ``losses()``.
        advice: Sentence to append to the message.

    Raises:
        PluginError: If the block raises anything else.
    """
    try:
        with hosted():
            yield
    except BaseException as error:
        if isinstance(error, UserError | Interruption) or is_out_of_memory(error):
            raise
        raise PluginError(f"{title} failed in {part}: {reason(error)}{advice and f'. {advice}'}") from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the memory of the GPU or of the host was not enough."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in str(error)
    )


@contextmanager
def reminder(line: str, after: float = 0.0) -> Iterator[None]:
    """Log a warning if the block takes too long, so that the user learns which code hangs.

    Args:
        line: The warning.
        after: Seconds that the block may take, in addition to ``SECONDS``.
    """
    timer = threading.Timer(after + SECONDS, log.warning, (line,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
