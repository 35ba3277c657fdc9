"""What a sweep knows of its packs and cells while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from kdbench.results.record import Record
from kdbench.results.store import Store
from kdbench.runs import progress, provenance
from kdbench.runs.cells import AnySpec
from kdbench.runs.packs import Pack, split
from kdbench.runs.plan import Plan
from kdbench.runs.settings import RunSettings, run_folder
from kdbench.runs.sweep_cells import Item
from kdbench.runs.sweep_records import checkpoints_of, needs_of, stamp

Stamp = tuple[int, int] | None


@dataclass(frozen=True)
class Settled:
    """What became of a cell.

    Attributes:
        item: The cell.
        record: Its record, done or failed; None where it was refused.
        why: Why it is not done; empty where it is.
    """

    item: Item
    record: Record | None
    why: str = ""


@dataclass
class PackState:
    """A pack with cells that are not settled.

    Attributes:
        pack: These cells.
        name: The pack's name at the beginning, which its folder has.
        folder: Where its workers write.
        before: Identity -> stamp of the record that the cell had before, such as a failed one.
        deaths: Workers that died on it in a row without getting further.
        mark: How far it was at the last look, growing.
        log_start: Where in the log the last worker began, in bytes.
    """

    pack: Pack
    name: str
    folder: Path
    before: dict[str, Stamp]
    deaths: int = 0
    mark: tuple[int, int] | None = None
    log_start: int = 0

    @classmethod
    def of(cls, pack: Pack, store: Store, folder: Path) -> PackState:
        """Return the state of a pack that has not been begun."""
        before = {item.identity: stamp(store, item.plan.cell) for item in pack.items}
        return cls(pack, pack.name, folder, before)

    @property
    def log(self) -> Path:
        """What its workers print."""
        return self.folder / "log.txt"

    def start(self, mark: tuple[int, int]) -> None:
        """Note that a worker starts, and how far the pack is."""
        progress.forget(self.folder)
        self.mark = self.mark or mark
        self.log_start = self.log.stat().st_size if self.log.exists() else 0

    def keep(self, items: list[Item]) -> None:
        """Only these cells are left."""
        self.pack = Pack(tuple(items), self.pack.reason)

    def halves(self, store: Store, settings: RunSettings) -> list[PackState]:
        """Return a pack for each half of the cells, where the death of a worker counts as one on each."""
        halves = split(self.pack, 2, "a worker died")
        states = [PackState.of(half, store, settings.pack_folder(half.name)) for half in halves]
        return [replace(state, deaths=1) for state in states]

    def died(self, mark: tuple[int, int]) -> int:
        """Count a worker's death; where it came further than those before, it is the first of a new row."""
        further = self.mark is None or mark > self.mark
        self.deaths = 1 if further else self.deaths + 1
        self.mark = mark if further else self.mark
        return self.deaths


def mark_of(pack: Pack, work_dir: Path, there: Callable[[AnySpec], bool]) -> tuple[int, int]:
    """How far a pack is: what need not be trained any more counts before checkpoints do."""
    needed = {identity for item in pack.items for identity in needs_of(item.plan, there)}
    left = len({item.identity for item in pack.items} | needed)
    return -left, sum(checkpoints_of(item.plan, work_dir) for item in pack.items)


def write_lost(plan: Plan, store: Store, settings: RunSettings, why: str) -> Record:
    """Record a plan's cell as failed, from outside of the workers that died on it.

    Args:
        plan: The cell's.
        store: Where the record goes.
        settings: Runtime settings.
        why: The reason.
    """
    folder = run_folder(settings.work_dir, plan.cell.identity())
    device = plan.cell.device  # this machine need not have the one that the workers had
    record = provenance.record_of(plan.cell, plan.dataset.metric, folder, reason=why, device=device)
    store.write(record, replace=settings.rerun)
    return record
