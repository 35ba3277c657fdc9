"""PKD, a method for kdbench. This module is the plugin; it does not import torch."""

from __future__ import annotations

from kdbench.api import MethodCard, hookimpl
from kdbench_pkd.card import CARD


@hookimpl
def kdbench_methods() -> list[MethodCard]:
    """Return the card of this package's only method."""
    return [CARD]
