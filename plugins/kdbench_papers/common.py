"""What the papers' packages share. Imports no torch."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any


def lazily(package: str, names: list[str]) -> Callable[[str], Any]:
    """A package's ``__getattr__`` that takes its loss functions from ``package.losses`` when first used.

    Args:
        package: ``__name__`` of the package.
        names: The functions it offers.
    """

    def attribute(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.losses"), name)

    return attribute
