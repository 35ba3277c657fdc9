"""The two hashes of a record's spec, from one look at it: who it is, and what it may be compared with."""

from __future__ import annotations

import hashlib
import json
import marshal
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

OF_THE_METHOD = frozenset({"method", "options", "selector", "plugin", "seed", "teacher"})
"""Keys of a spec in which two cells of one ranking may differ."""

_dumps = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode
_PLAIN = 2
"""Version of marshal without references: equal contents have equal bytes."""

_LARGE = 512
"""Bytes from which on a value is a model or a pair, which many cells share."""


def hashes(spec: Mapping[str, Any]) -> tuple[str, str]:
    """:func:`kdbench.specs.digest` of a spec, and of what is left of it without the method's own keys.

    Returns:
        Identity and recipe, hexadecimal.
    """
    parts = [(key, f"{_dumps(key)}:{_text(spec[key])}") for key in sorted(spec)]
    recipe = [text for key, text in parts if key not in OF_THE_METHOD]
    return _digest([text for _, text in parts]), _digest(recipe)


def _digest(parts: list[str]) -> str:
    return hashlib.sha256(f"{{{','.join(parts)}}}".encode()).hexdigest()


def _text(value: Any) -> str:
    """Canonical JSON. Thousands of cells share a pair: its text is written once for each distinct content."""
    content = marshal.dumps(value, _PLAIN) if isinstance(value, dict) else b""
    return _shared(content) if len(content) > _LARGE else _dumps(value)


@lru_cache(maxsize=256)
def _shared(content: bytes) -> str:
    return _dumps(marshal.loads(content))
