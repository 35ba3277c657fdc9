"""Packs: the cells of a sweep that one worker trains, since they share data and teacher, and the worker's file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, ValidationError

from kdbench.errors import UserError, explain
from kdbench.files import read_regular, write_atomically
from kdbench.runs.plan import Plan
from kdbench.runs.request import Request
from kdbench.runs.settings import RunSettings
from kdbench.specs import PLAIN, Spec, digest


@dataclass(frozen=True)
class Item:
    """A cell of a sweep.

    Attributes:
        request: What was asked for.
        plan: The resolved request.
        identity: Identity of the cell.
    """

    request: Request
    plan: Plan
    identity: str

    @property
    def title(self) -> str:
        """Its name in messages."""
        cell = self.plan.cell
        return f"{cell.selector}, seed {cell.seed}, {cell.pair.name}"


@dataclass(frozen=True)
class Pack:
    """Cells for one worker.

    Attributes:
        items: The cells, the plain student first.
        reason: Why they are together, or apart from others.
    """

    items: tuple[Item, ...]
    reason: str

    @property
    def name(self) -> str:
        """A short name, made from the cells."""
        return digest(sorted(item.identity for item in self.items))[:12]

    @property
    def title(self) -> str:
        """Its name in messages."""
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
    places: dict[tuple[object, ...], list[Item]] = defaultdict(list)
    for item in items:
        cell = item.plan.cell
        places[cell.dataset, cell.pair.name, cell.seed, cell.schedule, cell.precision].append(item)
    return [pack for members in places.values() for pack in _packs_at(members, max_lanes)]


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
        packs += parts_of(Pack(tuple(ordered), _reason(ordered)), parts, f"at most {max_lanes} lanes")
    return packs


def _ordinary(item: Item) -> bool:
    """Return whether a cell needs no more than the pair's own teacher."""
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


def parts_of(pack: Pack, parts: int, why: str) -> list[Pack]:
    """Split a pack into at most so many parts of nearly equal size, in the order of its cells."""
    parts = min(parts, len(pack.items))
    if parts == 1:
        return [pack]
    ends = [-(-len(pack.items) * number // parts) for number in range(parts + 1)]
    return [
        Pack(pack.items[ends[number - 1] : ends[number]], f"{pack.reason}, part {number} of {parts}: {why}")
        for number in range(1, parts + 1)
    ]


class PackFile(Spec):
    """Content of a pack's file."""

    name: str
    title: str
    requests: tuple[Request, ...] = Field(min_length=1)
    identities: tuple[str, ...]
    """Those of the cells, in the order of ``requests``: a worker that plans others refuses the pack."""
    settings: RunSettings

    @property
    def folder(self) -> Path:
        """Where the pack's progress and log are."""
        return self.settings.pack_folder(self.name)


def write_pack(pack: Pack, name: str, settings: RunSettings) -> Path:
    """Write a pack's file in one step, into the folder of that name. Raises UserError if that fails."""
    content = PackFile(
        name=name,
        title=pack.title,
        requests=tuple(item.request for item in pack.items),
        identities=tuple(item.identity for item in pack.items),
        settings=settings,
    )
    file = content.folder / "pack.json"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, content.model_dump_json(indent=1) + "\n")
    except OSError as error:
        raise UserError(f"cannot write {file}: {error.strerror or error}.") from error
    return file


def read_pack(file: Path) -> PackFile:
    """Read a pack's file. Raises UserError if it is not one."""
    try:
        return PackFile.model_validate_json(read_regular(file))
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror or error}.") from error
    except ValidationError as error:
        raise UserError(f"{file} is not a pack of a sweep: {explain(error)}.") from error
