"""Detection of the lines of a plugin that use global random generators."""

from __future__ import annotations

import random
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import numpy as np
import torch

from kdbench.conformance.broken import place, within


def _numpy_state() -> tuple[bytes, Any]:
    state = np.random.get_state(legacy=False)["state"]
    return state["key"].tobytes(), state["pos"]


STATES: dict[str, Callable[[], object]] = {
    "torch": lambda: torch.get_rng_state().numpy().tobytes(),
    "numpy": _numpy_state,
    "random": random.getstate,
}
"""Module -> function that returns the state of its global generator."""


def states() -> dict[str, object]:
    """Return the state of each global generator."""
    return {name: read() for name, read in STATES.items()}


@contextmanager
def watched(package: str) -> Iterator[list[str]]:
    """Watch the global generators during a block.

    Args:
        package: Top-level package of the plugin.

    Yields:
        A list that, after the block, has the generators that it used, each with the plugin's line.
    """
    found: list[str] = []
    before, lines, tracing = states(), _Lines(package), sys.gettrace()
    sys.settrace(lines.enter)
    try:
        yield found
    finally:
        sys.settrace(tracing)
        now = states()
        used = [name for name in now if now[name] != before[name]]
        found += [f"{name}'s global generator{lines.used.get(name, '')}" for name in used]


class _Lines:
    """Tracer that records the first line of a package after which a generator's state has changed.

    Args:
        package: Top-level package.
    """

    def __init__(self, package: str) -> None:
        self.package = package
        self.used: dict[str, str] = {}
        self._known = states()
        self._last: traceback.FrameSummary | None = None

    def enter(self, frame: FrameType, _event: str, _value: Any) -> Any:
        """Trace the functions of the package."""
        return self._look if within(frame.f_code.co_filename, self.package) else None

    def _look(self, frame: FrameType, _event: str, _value: Any) -> Any:
        now = states()
        for name in now:
            if now[name] != self._known[name] and self._last is not None:
                self.used.setdefault(name, f" ({place(self._last)})")
        self._known = now
        self._last = traceback.FrameSummary(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)
        return self._look
