"""Skip a test if something is missing, or fail it if KDBENCH_REQUIRE says that it must be present."""

from __future__ import annotations

import importlib
import os
from typing import Any, NoReturn

import pytest

KINDS = ("programs", "extras", "data")


def skip(kind: str, reason: str) -> NoReturn:
    """Skip the test, or the module that is being collected, unless ``kind`` is required."""
    assert kind in KINDS
    if kind in os.environ.get("KDBENCH_REQUIRE", "").split(","):
        pytest.fail(f"KDBENCH_REQUIRE={kind}: {reason}", pytrace=False)
    pytest.skip(reason, allow_module_level=True)


def extra(module: str, reason: str) -> Any:
    """Import a module of an optional dependency."""
    try:
        return importlib.import_module(module)
    except ImportError:
        skip("extras", reason)
