"""Channel-wise distillation, a method for kdbench. This module is its plugin: it is read without torch."""

from __future__ import annotations

from kdbench.api import MethodCard, hookimpl
from kdbench_cwd.card import CARD


@hookimpl
def kdbench_methods() -> list[MethodCard]:
    """Provide the one method of this package."""
    return [CARD]
