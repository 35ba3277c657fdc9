"""How long cells will take, from the records of earlier ones."""

from __future__ import annotations

import math
from bisect import insort
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kdbench.results.record import Record
from kdbench.runs.cells import AnySpec
from kdbench.runs.packs import Pack
from kdbench.runs.sweep_cells import Item
from kdbench.runs.sweep_records import needs_of
from kdbench.specs import TeacherSpec, digest

STEP = 0.1
"""Seconds of an iteration where nothing is known: a full-width pair's on a GPU, or a small pair's on a core."""


@dataclass
class Rates:
    """Seconds an iteration, as recorded, in order: the median counts, of a pair and method, or of a teacher."""

    of_method: dict[tuple[str, str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    of_pair: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    of_model: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def learn(self, records: Iterable[Record]) -> None:
        """Take in what records say."""
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
        """Time of a cell's iterations, s: as the same method took, else any on the pair; None if unknown."""
        cell = item.plan.cell
        pair = (cell.pair.name, cell.schedule)
        seen = self.of_method.get((*pair, cell.method)) or self.of_pair.get(pair)
        return _median(seen) * cell.recipe.iterations if seen else None

    def of_teacher(self, teacher: TeacherSpec) -> float | None:
        """Time of a teacher's iterations, s, as one of the same model took on the dataset; None if unknown."""
        seen = self.of_model.get(_teacher(teacher.model_dump(mode="json")))
        return _median(seen) * teacher.recipe.iterations if seen else None

    def guess(self, item: Item) -> float:
        """Time of a cell's iterations, s, with the order of magnitude of a step where there is no record."""
        known = self.seconds(item)
        return item.plan.cell.recipe.iterations * STEP if known is None else known

    def total(self, items: Iterable[Item]) -> tuple[float, int]:
        """Time of cells one after the other, s, and of how many of them it is unknown."""
        each = [self.seconds(item) for item in items]
        return sum(seconds for seconds in each if seconds is not None), each.count(None)


def teachers_of(items: Iterable[Item], there: Callable[[AnySpec], bool]) -> dict[str, TeacherSpec]:
    """Return the teachers, by identity, that cells need and that are not there."""
    plans = {(item.plan.cell.teacher, item.plan.ancestor): item.plan for item in items}
    return {identity: spec for plan in plans.values() for identity, spec in needs_of(plan, there).items()}


def in_order(packs: Sequence[Pack], rates: Rates) -> list[Pack]:
    """Sort packs into the order in which they are best begun.

    The longest first, so that no slot is left alone with it in the end. The first of a pair trains its teacher,
    for which the others wait.
    """

    def key(pack: Pack) -> tuple[float, int]:
        seconds, unknown = rates.total(pack.items)
        iterations = sum(item.plan.cell.recipe.iterations for item in pack.items)
        return -math.inf if unknown else -seconds, -iterations

    return sorted(packs, key=key)


def _median(ordered: Sequence[float]) -> float:
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def _teacher(spec: Mapping[str, Any]) -> str:
    """Return a key of all that the time of a teacher's iteration depends on."""
    return digest([spec.get(name) for name in ("dataset", "model", "schedule", "stage")])
