"""The teacher-student pairs that kdbench brings, registered like anybody's."""

from __future__ import annotations

from kdbench.hookspecs import hookimpl
from kdbench.pairs import cpu, detectors, gpu, scratch, segmentors
from kdbench.specs import Pair


@hookimpl
def kdbench_pairs() -> list[Pair]:
    """Provide the pairs: small ones first, so they are their datasets' defaults."""
    return [*cpu.PAIRS, *gpu.PAIRS, *detectors.PAIRS, *segmentors.PAIRS, *scratch.PAIRS]
