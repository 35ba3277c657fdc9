"""Deals the cells of packs out over slots that would otherwise be idle."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Mapping, Sequence

from kdbench.runs.estimate import Rates
from kdbench.runs.packs import Pack, split

SHARED = 0.3
"""Time that lanes share (a teacher's forward and loading), in times of one lane: six side by side take 0.79 of the
time of six runs, see benchmarks/speed."""
START = 20.0
"""Seconds that a worker takes until its first iteration; a split must save at least as much."""
GAIN = 0.05
"""Share of a sweep's time that a split must save."""
WHY = "slots would be idle"


def dealt(packs: Sequence[Pack], slots: int, rates: Rates) -> list[Pack]:
    """Split packs into parts where a sweep is shorter for it, by the estimate; return them, the longest first.

    Each part is trained by a worker of its own, with a teacher and a loader of its own. The shortest packs are the
    ones that are split, since the longest begin first and keep the slots busy.

    Args:
        packs: The packs of a sweep.
        slots: How many workers may run at once.
        rates: Times of cells, from earlier records.
    """
    each = {item.identity: rates.guess(item) for pack in packs for item in pack.items}
    ordered = sorted(packs, key=lambda pack: _seconds(pack, each), reverse=True)
    most = min(slots, max((len(pack.items) for pack in packs), default=1))
    parts = [[split(pack, number, WHY) for pack in ordered] for number in range(1, most + 1)]
    seconds = [[[_seconds(part, each) for part in pack] for pack in row] for row in parts]
    best, shortest = parts[0], _length(seconds[0], slots)
    for whole in reversed(range(max(0, len(packs) - slots), len(packs))):
        for number in range(1, most):
            length = _length([*seconds[0][:whole], *seconds[number][whole:]], slots)
            if shortest - length > max(START, GAIN * shortest):
                best, shortest = [*parts[0][:whole], *parts[number][whole:]], length
    return [*itertools.chain.from_iterable(best)]


def _length(seconds: Iterable[Sequence[float]], slots: int) -> float:
    """Time of all parts over slots, s, the longest first."""
    ordered = sorted(itertools.chain.from_iterable(seconds), reverse=True)
    busy = [0.0] * max(1, min(slots, len(ordered)))
    for each in ordered:
        heapq.heapreplace(busy, busy[0] + each)
    return max(busy)


def _seconds(pack: Pack, each: Mapping[str, float]) -> float:
    """Time of a pack in one worker, s, from that of each cell by identity."""
    lanes = [each[item.identity] for item in pack.items]
    return START + sum(lanes) + SHARED * max(lanes)
