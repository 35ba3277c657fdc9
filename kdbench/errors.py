"""The errors that are shown to a user as one line, and how they are worded."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class UserError(Exception):
    """A mistake the user can mend: the command line prints it as one line and exits with code 2.

    The message says what is wrong and what to do about it.
    """


def explain(error: ValidationError) -> str:
    """Return the first problem of a validation in one line."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    text = " ".join(f"{where}: {first['msg']}".split()) if where else " ".join(first["msg"].split())
    return text.replace("Value error, ", "")
