"""The progress of a sweep, as its own view and ``kdbench status`` show it."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from kdbench.files import read_regular, write_atomically
from kdbench.results.record import Record
from kdbench.results.statistics import gains, mean
from kdbench.results.store import Broken, Store
from kdbench.runs.cells import score
from kdbench.runs.claims import Claims
from kdbench.runs.claims_owner import Owner
from kdbench.runs.progress import LOG, PackProgress, Say, publish, read_progress, span
from kdbench.runs.settings import PACKS
from kdbench.runs.sweep_state import Settled
from kdbench.specs import PLAIN, Spec

CURRENT = "sweep.json"
REPORT = "sweep-report.json"
SHOW_EVERY = 60.0
"""Seconds between two lines on a whole sweep, where there is no terminal."""
FORGET = 60.0
"""Seconds without a new report after which the sweep counts as ended."""


class Manifest(Spec):
    """The last sweep in a work directory, for ``kdbench status``."""

    results: Path
    cells: dict[str, str]
    """Identity -> title."""
    commands: dict[str, str]
    """Identity -> the command that runs the cell by hand."""

    def write(self, work_dir: Path) -> None:
        """Write it in one step. Raises OSError."""
        work_dir.mkdir(parents=True, exist_ok=True)
        write_atomically(work_dir / CURRENT, self.model_dump_json(indent=1) + "\n")

    @classmethod
    def read(cls, work_dir: Path) -> Manifest | None:
        """Read the manifest of a work directory; None where there is none that can be read."""
        try:
            return cls.model_validate_json(read_regular(work_dir / CURRENT))
        except (OSError, ValidationError):
            return None


class SweepReport(Spec):
    """What the last sweep in a work directory reports beyond what its files show."""

    owner: Owner
    """The sweep's process."""
    ends: float | None
    """When it will end, s since the epoch; None where that is unknown."""
    refused: dict[str, str]
    """Identity -> why, of cells that cannot be run and have no record."""

    def write(self, work_dir: Path) -> None:
        """Write it; a full disk does not stop a sweep."""
        publish(work_dir / REPORT, self)

    @classmethod
    def read(cls, work_dir: Path) -> SweepReport | None:
        """Read the report in a work directory, without its end if nobody writes it any more; None without one."""
        try:
            report = cls.model_validate_json(read_regular(work_dir / REPORT))
            age = time.time() - (work_dir / REPORT).stat().st_mtime
        except (OSError, ValidationError):
            return None
        gone = report.owner.dead() or age > FORGET
        return report.model_copy(update={"ends": None}) if gone else report


@dataclass(frozen=True)
class Snapshot:
    """A sweep at one moment.

    Attributes:
        total: Number of its cells.
        done: Cells with a done record.
        failed: Cells with a failed record, or refused.
        running: Cells in a worker now.
        workers: Progress of each worker.
        seconds_left: Time to the end, s; None if unknown.
        best: The best method of each pair so far, a line each.
    """

    total: int
    done: int
    failed: int
    running: int
    workers: tuple[PackProgress, ...] = ()
    seconds_left: float | None = None
    best: tuple[str, ...] = ()

    @property
    def counts(self) -> str:
        """The cells in one line."""
        waiting = self.total - self.done - self.failed - self.running
        parts = [f"{self.done} done", f"{self.running} running", f"{waiting} to run"]
        return ", ".join([*parts, *([f"{self.failed} failed"] if self.failed else [])])


def best_of(records: Iterable[Record]) -> tuple[str, ...]:
    """Return a line for each pair: the method with the largest mean difference to the plain student.

    The mean is over shared seeds. Smoke runs and controls are left out, since they are never ranked.
    """
    scores: dict[str, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for record in records:
        ranked = record.kind == "cell" and not record.is_control and record.schedule != "smoke"
        if ranked and record.score is not None:
            scores[record.pair_name][record.selector][record.seed] = record.sign * record.score
    return tuple(line for pair, methods in scores.items() if (line := _best(pair, methods)))


def _best(pair: str, methods: dict[str, dict[int, float]]) -> str:
    plain = methods.get(PLAIN, {})
    found = {method: gains(scores, plain) for method, scores in methods.items() if method != PLAIN}
    paired = {method: of for method, of in found.items() if of}
    if not paired:
        return ""
    method, best = max(paired.items(), key=lambda item: mean(item[1]))
    return f"{pair}: {method} {100 * mean(best):+.1f} ({len(best)} seed{'s' if len(best) > 1 else ''})"


def progress_in(work_dir: Path, claims: Claims) -> list[PackProgress]:
    """Return the progress of the living workers below a work directory."""
    found = [read_progress(folder) for folder in sorted((work_dir / PACKS).glob("*"))]
    return [progress for progress in found if progress and not progress.ended and _lives(progress, claims)]


def _lives(progress: PackProgress, claims: Claims) -> bool:
    """Return whether the worker still holds one of its cells."""
    return any(claims.holder(identity) == progress.owner for identity in progress.cells)


def from_outside(manifest: Manifest, work_dir: Path) -> tuple[Snapshot, dict[str, str], list[Broken]]:
    """Return a sweep as its files show it, why cells failed by identity, and the files that cannot be read."""
    records, broken = Store(manifest.results).records()
    ours = [record for record in records if record.identity in manifest.cells]
    done = {record.identity: record for record in ours if record.done}
    report = SweepReport.read(work_dir)
    failed = dict(report.refused) if report is not None else {}
    failed |= {record.identity: record.reason or "" for record in ours if not record.done}
    failed = {cell: why for cell, why in failed.items() if cell in manifest.cells and cell not in done}
    workers = progress_in(work_dir, Claims(manifest.results))
    running = {identity for worker in workers for identity in worker.cells} & manifest.cells.keys()
    running -= done.keys() | failed.keys()
    ends = report.ends if report is not None else None
    return (
        Snapshot(
            total=len(manifest.cells),
            done=len(done),
            failed=len(failed),
            running=len(running),
            workers=tuple(workers),
            seconds_left=None if ends is None else max(0.0, ends - time.time()),
            best=best_of(done.values()),
        ),
        failed,
        broken,
    )


class LineView:
    """Shows a sweep as lines.

    Args:
        say: Receives each line.
    """

    def __init__(self, say: Say = LOG) -> None:
        self._say = say
        self.shown = 0.0

    def say(self, line: str) -> None:
        """Write one line."""
        self._say(line)

    def show(self, snapshot: Snapshot) -> None:
        """Write a line a minute."""
        if time.monotonic() - self.shown >= SHOW_EVERY:
            self.shown = time.monotonic()
            self.say(summary(snapshot))

    def settled(self, settled: Settled, lines: Sequence[str]) -> None:
        """Write the cell's score, or why it has none, the end of its log and the command that runs it."""
        record, item = settled.record, settled.item
        if record is not None and record.done:
            self.say(f"{item.title}: {score(record)}")
            return
        self.say(f"FAILED {item.title}: {settled.why}")
        for line in lines:
            self.say(f"  | {line}")
        self.say(f"  by hand: {item.plan.command}")


def summary(snapshot: Snapshot) -> str:
    """Return a sweep in one line."""
    left = f", ETA {span(snapshot.seconds_left)}" if snapshot.seconds_left is not None else ""
    return f"{snapshot.total} cells: {snapshot.counts}{left}"
