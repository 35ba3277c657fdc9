"""Ids in the page: a method's card can be linked to by its name."""

from __future__ import annotations

import hashlib

from kdbench.plugins import NAME


def anchor(label: str) -> str:
    """The id of the card of a row's method: ``method-mimic`` for ``mimic[weight=2]``.

    A name that no plugin could have gets a hash in its place: an id then holds nothing but letters and digits.
    """
    name = method_of(label)
    safe = name if NAME.fullmatch(name) else hashlib.sha256(name.encode(errors="replace")).hexdigest()[:12]
    return f"method-{safe}"


def method_of(label: str) -> str:
    """The method that a row's label begins with."""
    return label.partition("[")[0].partition(" (")[0]
