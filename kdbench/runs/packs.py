"""Packs: the cells of a sweep that one worker trains, since they share their data and their teacher."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kdbench.runs.sweep_cells import Item
from kdbench.specs import PLAIN, digest

PackKey = tuple[str, str, int, str, str]
"""Dataset, pair, seed, schedule and precision."""


@dataclass(frozen=True)
class Pack:
    """Cells for one worker.

    Attributes:
        items: The cells, the plain student first.
        reason: Why these are together, or apart from others.
    """

    items: tuple[Item, ...]
    reason: str

    @property
    def name(self) -> str:
        """Short name that follows from the cells."""
        return digest(sorted(item.identity for item in self.items))[:12]

    @property
    def title(self) -> str:
        """What the pack is called on the screen."""
        cell = self.items[0].plan.cell
        return f"{cell.pair.name}, seed {cell.seed}"


def packs_of(items: Iterable[Item], *, max_lanes: int | None, share_teacher: bool) -> list[Pack]:
    """Pack cells, in their order.

    Cells of the same dataset, pair, seed, schedule and teacher belong together; the plain student joins those
    of the pair's ordinary teacher. A control, which trains longer, is apart.

    Args:
        items: The cells to run.
        max_lanes: Most cells of a pack; None: no limit.
        share_teacher: False: every cell is alone.
    """
    if not share_teacher:
        return [Pack((item,), "alone: no teacher is shared") for item in items]
    places: dict[PackKey, list[Item]] = defaultdict(list)
    for item in items:
        places[_place(item)].append(item)
    return [pack for members in places.values() for pack in _packs_at(members, max_lanes)]


def _place(item: Item) -> PackKey:
    cell = item.plan.cell
    return (cell.dataset, cell.pair.name, cell.seed, cell.schedule, cell.precision)


def _packs_at(members: Sequence[Item], max_lanes: int | None) -> list[Pack]:
    """Return the packs of one place, that of the ordinary teacher first, those of longer trainings last."""
    groups: dict[tuple[int, str], list[Item]] = defaultdict(list)
    for item in sorted(members, key=lambda item: not _ordinary(item)):
        cell = item.plan.cell
        groups[cell.recipe.iterations, "" if _ordinary(item) else str(cell.teacher)].append(item)
    packs = []
    for _, group in sorted(groups.items(), key=lambda found: found[0][0]):
        ordered = sorted(group, key=lambda item: item.plan.cell.method != PLAIN)
        parts = -(-len(group) // (max_lanes or len(group)))
        packs += split(Pack(tuple(ordered), _reason(ordered)), parts, f"at most {max_lanes} lanes")
    return packs


def _ordinary(item: Item) -> bool:
    """Whether a cell needs no more than the pair's own teacher."""
    return item.plan.staged is None and not item.plan.others


def _reason(group: Sequence[Item]) -> str:
    plan = group[0].plan
    if plan.staged is not None:
        return f"apart: {plan.staged.stage.title}"
    if plan.others:
        return f"apart: ensemble of {len(plan.others) + 1} teachers"
    if plan.cell.recipe != plan.cell.pair.schedule:
        return "apart: it trains longer"
    if len(group) > 1:
        return "one teacher"
    return "plain student" if plan.cell.method == PLAIN else "one method"


def split(pack: Pack, parts: int, why: str) -> list[Pack]:
    """Split a pack into at most so many parts of nearly equal size, in the order of its cells."""
    parts = min(parts, len(pack.items))
    if parts == 1:
        return [pack]
    ends = [-(-len(pack.items) * number // parts) for number in range(parts + 1)]
    return [
        Pack(pack.items[ends[number - 1] : ends[number]], f"{pack.reason}, part {number} of {parts}: {why}")
        for number in range(1, parts + 1)
    ]
