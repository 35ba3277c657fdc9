"""Times for people."""

from __future__ import annotations

import time


def span(seconds: float) -> str:
    """Format a duration as ``42 s``, ``5 min 07 s`` or ``2 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class Pace:
    """How long a training still takes, at its mean speed since it was first seen."""

    def __init__(self) -> None:
        self._first: tuple[int, float] | None = None

    def left(self, iteration: int, iterations: int) -> float | None:
        """Seconds from ``iteration``, just done, to the end; None where it was not seen before."""
        now = time.monotonic()
        self._first = self._first or (iteration, now)
        done = iteration - self._first[0]
        return (now - self._first[1]) / done * (iterations - iteration) if done else None
