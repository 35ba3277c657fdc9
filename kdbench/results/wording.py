"""What is wrong with the texts of a record that others give: they must be printable, and not too long."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kdbench.results.record import Record
from kdbench.text import LONGEST, printable, unfit

FREE = ("made", "spec")
"""Parts of a record whose texts may be long: a command, the edits of a model."""
LONG = 10 * LONGEST


def unfit_texts(record: Record) -> Iterator[str]:
    """Return what is wrong with each text of a record, keys included: where it is, and why it is refused."""
    for part, value in record.model_dump(mode="json").items():
        most = LONG if part in FREE else LONGEST
        for where, text in _texts(part, value):
            if fault := unfit(text, most):
                yield f"{where}: {fault}"


def _texts(where: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield where, key
            yield from _texts(f"{where}.{printable(key, 40)}", inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(where, inner)
