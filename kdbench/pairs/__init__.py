"""The teacher-student pairs that come with kdbench, registered like those of any plugin."""

from __future__ import annotations

from kdbench.hookspecs import hookimpl
from kdbench.pairs import cpu, detectors, gpu, scratch, segmentors
from kdbench.specs import Pair


@hookimpl
def kdbench_pairs() -> list[Pair]:
    """Return the pairs; small ones come first, so that they are the defaults of their datasets."""
    return [*cpu.PAIRS, *gpu.PAIRS, *detectors.PAIRS, *segmentors.PAIRS, *scratch.PAIRS]
