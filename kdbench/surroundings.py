"""Checks of a process's environment: standard streams, arguments and working directory."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from kdbench.errors import UserError
from kdbench.text import line


def with_streams() -> None:
    """Replace each closed standard stream by the null device.

    Otherwise the next opened file would get its number, and anything printed would be written into that file.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest free number
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def check_arguments(arguments: Iterable[str]) -> None:
    """Refuse arguments that are not UTF-8, since a record could not store them.

    Raises:
        UserError: If an argument is not UTF-8.
    """
    for argument in arguments:
        try:
            str(argument).encode()
        except UnicodeEncodeError as error:
            raise UserError(f"the argument '{line(argument)}' is no UTF-8: rename the file.") from error


def check_folder() -> None:
    """Check that the working directory exists.

    Raises:
        UserError: If it was removed.
    """
    try:
        Path.cwd()
    except OSError as error:
        raise UserError("the working directory was removed: change to one that is there.") from error
