"""What a sweep knows of its packs and cells while it runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kdbench.results.record import Record
from kdbench.runs import progress, provenance
from kdbench.runs.cells import AnySpec
from kdbench.runs.made import checkpoints_of, stamp, teachers_of
from kdbench.runs.packs import Item, Pack, parts_of
from kdbench.runs.plan import Plan
from kdbench.runs.settings import RunSettings

LOG_LINES, LOG_BYTES = 8, 8192
"""Lines of a log that are shown, and how much of its end is read for them."""


@dataclass(frozen=True)
class Settled:
    """The result of a cell.

    Attributes:
        item: The cell.
        record: Its record, done or failed; None if it was refused.
        why: Why it is not done; empty if it is.
    """

    item: Item
    record: Record | None
    why: str = ""


@dataclass
class PackState:
    """A pack with cells that are not settled.

    Attributes:
        pack: These cells.
        settings: Runtime settings.
        name: The pack's name at the beginning, which its folder has.
        before: Identity -> stamp of the record that the cell had before, such as a failed one.
        deaths: Workers that died on it in a row without getting further.
        mark: How far it was at the last look; it grows.
        log_start: Where in the log the last worker began, bytes.
    """

    pack: Pack
    settings: RunSettings
    name: str
    before: dict[str, tuple[int, int] | None]
    deaths: int = 0
    mark: tuple[int, int] | None = None
    log_start: int = 0

    @classmethod
    def of(cls, pack: Pack, settings: RunSettings) -> PackState:
        """Return the state of a pack that has not been begun."""
        before = {item.identity: stamp(settings.store, item.plan.cell) for item in pack.items}
        return cls(pack, settings, pack.name, before)

    @property
    def cells(self) -> set[str]:
        """Identities of its cells."""
        return {item.identity for item in self.pack.items}

    @property
    def plans(self) -> list[Plan]:
        """Their plans."""
        return [item.plan for item in self.pack.items]

    @property
    def folder(self) -> Path:
        """Where its workers write."""
        return self.settings.pack_folder(self.name)

    @property
    def log(self) -> Path:
        """What its workers print."""
        return self.folder / "log.txt"

    def last_lines(self) -> Sequence[str]:
        """Return the last lines that its last worker printed."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(self.log_start, file.seek(0, 2) - LOG_BYTES))
                text = file.read().decode(errors="replace")
        except OSError:
            return []
        return [line.rstrip() for line in text.splitlines() if line.strip()][-LOG_LINES:]

    def progress(self) -> progress.PackProgress | None:
        """Return the progress of its last worker; None before there is any."""
        return progress.read_progress(self.folder)

    def start(self, made: Callable[[AnySpec], bool]) -> None:
        """Note that a worker starts, and how far the pack is.

        Args:
            made: Whether a spec need not be run.
        """
        progress.forget(self.folder)
        self.mark = self.mark or self._mark(made)
        self.log_start = self.log.stat().st_size if self.log.exists() else 0

    def keep(self, items: Sequence[Item]) -> None:
        """Drop all cells but these."""
        self.pack = Pack(tuple(items), self.pack.reason)

    def halves(self) -> list[PackState]:
        """Return a pack for each half of the cells, each with one death of a worker."""
        halves = parts_of(self.pack, 2, "a worker died")
        return [replace(PackState.of(half, self.settings), deaths=1) for half in halves]

    def died(self, made: Callable[[AnySpec], bool]) -> int:
        """Count a worker's death, and return how many there were in a row without getting further.

        Args:
            made: Whether a spec need not be run.
        """
        mark = self._mark(made)
        further = self.mark is None or mark > self.mark
        self.deaths = 1 if further else self.deaths + 1
        self.mark = mark if further else self.mark
        return self.deaths

    def _mark(self, made: Callable[[AnySpec], bool]) -> tuple[int, int]:
        """Return how far the pack is: what is still to be trained counts before checkpoints do."""
        left = self.cells | teachers_of(self.plans, made).keys()
        return -len(left), sum(checkpoints_of(plan, self.settings) for plan in self.plans)


def write_lost(plan: Plan, settings: RunSettings, why: str) -> Record:
    """Record a plan's cell as failed, from outside of the workers that died on it.

    Args:
        plan: The cell's.
        settings: Runtime settings.
        why: The reason.
    """
    device = plan.cell.device  # this machine need not have the one that the workers had
    folder = settings.folder(plan.cell)
    record = provenance.record_of(plan.cell, plan.dataset.metric, folder, reason=why, device=device)
    settings.store.write(record, replace=settings.rerun)
    return record
