"""What a process may lack of its surroundings: standard streams and a working directory."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from kdbench.errors import UserError
from kdbench.text import line


def with_streams() -> None:
    """Open the null device in the place of each standard stream that is closed.

    Otherwise the next file that is opened gets its number, and what is printed is written into that file.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest free number
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def check_arguments(arguments: Iterable[str]) -> None:
    """Refuse arguments that are no UTF-8, which no record could hold.

    Raises:
        UserError: For the first of them.
    """
    for argument in arguments:
        try:
            str(argument).encode()
        except UnicodeEncodeError as error:
            raise UserError(f"the argument '{line(argument)}' is no UTF-8: rename the file.") from error


def check_folder() -> None:
    """Refuse a working directory that was removed.

    Raises:
        UserError: If it was.
    """
    try:
        Path.cwd()
    except OSError as error:
        raise UserError("the working directory was removed: change to one that is there.") from error
