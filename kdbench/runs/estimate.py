"""How long cells will take, from the records of earlier ones, and how packs are dealt out over slots by it."""

from __future__ import annotations

import heapq
import itertools
import math
from bisect import insort
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kdbench.results.record import Record
from kdbench.runs.packs import Item, Pack, parts_of
from kdbench.specs import TeacherSpec, digest

STEP = 0.1
"""Seconds of an iteration where nothing is known: a full-width pair's on a GPU, or a small pair's on a core."""
SHARED = 0.3
"""Time that lanes share (a teacher's forward and loading), in times of one lane: six side by side take 0.79 of the
time of six runs, see benchmarks/speed."""
START = 20.0
"""Seconds that a worker takes until its first iteration; a split must save at least as much."""
GAIN = 0.05
"""Share of a sweep's time that a split must save."""
WHY = "slots would be idle"


@dataclass
class Rates:
    """Seconds an iteration, as recorded, in order: the median counts, of a pair and method, or of a teacher."""

    of_method: dict[tuple[str, str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    of_pair: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    of_model: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def learn(self, records: Iterable[Record]) -> None:
        """Add the times of done records."""
        for record in records:
            seconds = record.cost.seconds_per_iteration
            if not record.done or not seconds:
                continue
            if record.kind == "teacher":
                insort(self.of_model[_teacher(record.spec)], seconds)
            else:
                insort(self.of_method[record.pair_name, record.schedule, record.method], seconds)
                insort(self.of_pair[record.pair_name, record.schedule], seconds)

    def seconds(self, item: Item) -> float | None:
        """Return the time of a cell's iterations, s, by records of the method or the pair; None if unknown."""
        cell = item.plan.cell
        pair = (cell.pair.name, cell.schedule)
        seen = self.of_method.get((*pair, cell.method)) or self.of_pair.get(pair)
        return _median(seen) * cell.recipe.iterations if seen else None

    def of_teacher(self, teacher: TeacherSpec) -> float | None:
        """Return the time of a teacher's iterations, s, from one of the same model and dataset; None if unknown."""
        seen = self.of_model.get(_teacher(teacher.model_dump(mode="json")))
        return _median(seen) * teacher.recipe.iterations if seen else None

    def guess(self, item: Item) -> float:
        """Return the time of a cell's iterations, s, from the order of magnitude of a step if it is unknown."""
        known = self.seconds(item)
        return item.plan.cell.recipe.iterations * STEP if known is None else known

    def total(self, items: Iterable[Item]) -> tuple[float, int]:
        """Return the time of cells one after the other, s, and how many of them have no known time."""
        each = [self.seconds(item) for item in items]
        return sum(seconds for seconds in each if seconds is not None), each.count(None)


def in_order(packs: Sequence[Pack], rates: Rates) -> list[Pack]:
    """Sort packs into the order in which to start them.

    The longest first, so that no slot is left alone with it in the end. The first of a pair trains its teacher,
    for which the others wait.
    """

    def key(pack: Pack) -> tuple[float, int]:
        seconds, unknown = rates.total(pack.items)
        iterations = sum(item.plan.cell.recipe.iterations for item in pack.items)
        return -math.inf if unknown else -seconds, -iterations

    return sorted(packs, key=key)


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
    parts = [[parts_of(pack, number, WHY) for pack in ordered] for number in range(1, most + 1)]
    seconds = [[[_seconds(part, each) for part in pack] for pack in row] for row in parts]
    best, shortest = parts[0], _length(seconds[0], slots)
    for whole in reversed(range(max(0, len(packs) - slots), len(packs))):
        for number in range(1, most):
            length = _length([*seconds[0][:whole], *seconds[number][whole:]], slots)
            if shortest - length > max(START, GAIN * shortest):
                best, shortest = [*parts[0][:whole], *parts[number][whole:]], length
    return [*itertools.chain.from_iterable(best)]


def _length(seconds: Iterable[Sequence[float]], slots: int) -> float:
    """Return the time of all parts over slots, s, the longest first."""
    busy = [0.0] * slots
    for each in sorted(itertools.chain.from_iterable(seconds), reverse=True):
        heapq.heapreplace(busy, busy[0] + each)
    return max(busy)


def _seconds(pack: Pack, each: Mapping[str, float]) -> float:
    """Return the time of a pack in one worker, s, from that of each cell by identity."""
    lanes = [each[item.identity] for item in pack.items]
    return START + sum(lanes) + SHARED * max(lanes)


def _median(ordered: Sequence[float]) -> float:
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def _teacher(spec: Mapping[str, Any]) -> str:
    """Return a key of all that the time of a teacher's iteration depends on."""
    return digest([spec.get(name) for name in ("dataset", "model", "schedule", "stage")])
