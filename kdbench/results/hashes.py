"""The hashes of a record's spec, from one look at it: who it is, and what it may be compared with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

from kdbench.specs import canonical, unlabelled

OF_THE_METHOD = frozenset({"method", "options", "revision", "seed", "teacher"})
"""Keys of a spec in which two cells of one ranking may differ."""
NOTHING: Mapping[str, str] = MappingProxyType({})

_scalar = lru_cache(maxsize=4096, typed=True)(canonical)
"""The same for what many specs repeat."""


class Hashes(NamedTuple):
    """What distinguishes a spec from others.

    Attributes:
        identity: :func:`kdbench.specs.digest` of it without its labels.
        recipe: The same of what is left of that without the method's own keys.
        options: Its options as canonical JSON; ``{}`` where it has none.
    """

    identity: str
    recipe: str
    options: str


def hashes(spec: Mapping[str, Any], texts: Mapping[str, str] = NOTHING) -> Hashes:
    """Hash a spec.

    Args:
        spec: The spec of a cell or a teacher.
        texts: Key -> canonical JSON of its value, without labels, where that is known already.

    Raises:
        ValueError: For a number that is not finite.
    """
    parts = {key: texts.get(key) or _text(value) for key, value in sorted(unlabelled(spec).items())}
    recipe = tuple([part for part in parts.items() if part[0] not in OF_THE_METHOD])
    return Hashes(_digest(parts.items()), _recipe(recipe), parts.get("options", "{}"))


def _text(value: Any) -> str:
    return _scalar(value) if type(value) in (str, int, bool, type(None)) else canonical(value)


@lru_cache(maxsize=256)
def _recipe(parts: tuple[tuple[str, str], ...]) -> str:
    """Thousands of cells have one recipe."""
    return _digest(parts)


def _digest(parts: Iterable[tuple[str, str]]) -> str:
    inside = ",".join([f"{_scalar(key)}:{text}" for key, text in parts])
    return hashlib.sha256(f"{{{inside}}}".encode()).hexdigest()
