"""Reads the text of a record; a pair, most of the text and shared by thousands of cells, is parsed once."""

from __future__ import annotations

import uuid
from functools import lru_cache
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import from_json

from kdbench.errors import UserError
from kdbench.results.record import Record, Shared, complaint
from kdbench.specs import canonical, unlabelled

_BEGIN, _END = b'\n  "pair": {\n', b"\n  },\n"
"""Lines around a pair in a record's file; no string in JSON goes over a line."""
_MARK = uuid.uuid4().hex
"""Stands for a pair; no file can hold it, since it is drawn anew by each process."""
_STAND_IN = f'\n  "pair": {{"{_MARK}": 0}},\n'.encode()


def read(text: bytes) -> Record:
    """Return the record in a file's text, as :meth:`Record.model_validate_json` gives it.

    The text of a pair that was met before is not parsed again: the rest is parsed with a stand-in, whose place in
    the result tells that the text was that of the spec's pair. Cells with equal texts share the pair's dict.

    Raises:
        pydantic.ValidationError: As that does.
    """
    begin = text.find(_BEGIN)
    end = text.rfind(_END)
    if begin < 0 or end < begin:
        return Record.model_validate_json(text)
    try:
        shared = _parsed(text[begin + len(_BEGIN) - 2 : end + 4])
        rest = text[:begin] + _STAND_IN + text[end + len(_END) :]
        return Record.model_validate_json(rest, context=shared)
    except ValueError:
        return Record.model_validate_json(text)


def record_in(path: Path) -> Record:
    """Return the record in a file that a user names.

    Raises:
        UserError: If it is none, or is cut off.
    """
    try:
        return Record.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise UserError(f"{path} is not a readable record ({complaint(error)}): give another.") from error


@lru_cache(maxsize=1024)
def _parsed(text: bytes) -> Shared:
    """Return an object's pairs. Raises ValueError where the text is no JSON object or a number is not finite."""
    value = from_json(text)
    return Shared({_MARK: 0}, value, canonical(unlabelled({"pair": value})["pair"]))
