"""Validation of tables that map the numbers or colours in a mask to classes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

COLOUR = re.compile(r"#[0-9A-Fa-f]{6}")
DEEPEST = 65535
"""Largest number in a mask of 16 bits."""
MOST = 256
"""Number of classes that a mask of 8 bits can distinguish."""


def fault_of(values: Mapping[int | str, str | None], classes: Sequence[str], ignored: int) -> str | None:
    """Return the fault of a table, as the end of a sentence, or None.

    Args:
        values: Number or colour -> class, or None if such pixels are not evaluated.
        classes: The dataset's classes.
        ignored: The dataset's ``ignore_index``.
    """
    numbers = all(type(value) is int and 0 <= value <= DEEPEST for value in values)
    if not numbers and not all(isinstance(value, str) and COLOUR.fullmatch(value) for value in values):
        return f"give numbers from 0 to {DEEPEST}, or colours as '#rrggbb'"
    if len(classes) > MOST or not 0 <= ignored < MOST:
        return f"there may be at most {MOST} classes, and ignore_index must be below {MOST}"
    wrong = {name for name in values.values() if name is not None} ^ set(classes)
    if wrong:
        named = ", ".join(map(repr, sorted(wrong)))
        return f"{named} must be both a class and the class of a value"
    return None
