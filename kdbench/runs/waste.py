"""Finds files in the folder of the runs, or beside the records, that no record needs."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kdbench.errors import UserError
from kdbench.openmmlab.training.run_files import interrupted_at
from kdbench.results.store import Store
from kdbench.runs.claims import Claims
from kdbench.runs.settings import TUNING
from kdbench.runs.status import Manifest

RUN = re.compile("[0-9a-f]{16}")
"""Name of a run's folder: the beginning of its identity."""
DRAFT = re.compile(r"\.[0-9a-f]{32}\.tmp")
"""Name of a file that is renamed when it is complete."""
OLD = 3600.0
"""Seconds after which nobody writes a draft any more."""


@dataclass(frozen=True)
class Waste:
    """A file or folder that no record needs.

    Attributes:
        path: Where it is.
        why: Why it is not needed.
    """

    path: Path
    why: str

    @property
    def size(self) -> int:
        """Its files' sizes, bytes."""
        files = self.path.rglob("*") if self.path.is_dir() else [self.path]
        return sum(file.lstat().st_size for file in files if not file.is_dir())

    def remove(self) -> None:
        """Remove it. Raises OSError."""
        if self.path.is_dir():
            shutil.rmtree(self.path)
        else:
            self.path.unlink(missing_ok=True)


def wasted(work_dir: Path, results: Path) -> list[Waste]:
    """Return what no record needs, and no run that is on its way or interrupted.

    Args:
        work_dir: Folder of the runs.
        results: Folder of the records.

    Raises:
        UserError: If there are no records: the folder may be another one's.
    """
    known = _Known(work_dir, results)
    if not known.done:
        raise UserError(f"no done records in {results}: give the results folder that belongs to {work_dir}.")
    runs = (
        sorted(path for path in work_dir.iterdir() if RUN.fullmatch(path.name)) if work_dir.is_dir() else []
    )
    found = [waste for folder in runs for waste in _of_run(folder, known)]
    return [*found, *_drafts(work_dir, found), *_drafts(results, found)]


class _Known:
    """What the stores have of runs, by the names of the runs' folders."""

    def __init__(self, work_dir: Path, results: Path) -> None:
        self.done: set[str] = set()
        self.kept: set[str] = set()
        """Runs that failed, or that a process holds."""
        self.broken: set[str] = set()
        """Ends of names of files that cannot be read: the beginnings of identities."""
        manifest = Manifest.read(work_dir)
        also = {manifest.results} if manifest else set()
        for root in {results, work_dir / TUNING, *also}:
            self._learn(Store(root))

    def _learn(self, store: Store) -> None:
        records, broken = store.records()
        self.done |= {record.identity[:16] for record in records if record.done}
        self.kept |= {record.identity[:16] for record in records if not record.done}
        self.broken |= {file.path.stem.rpartition("-")[2] for file in broken}
        claims = Claims(store.root)
        self.kept |= {identity[:16] for identity in claims.left() if claims.holder(identity)}

    def keeps(self, run: str) -> bool:
        """Return whether everything in a run's folder may be needed."""
        return run in self.kept or run[:12] in self.broken


def _of_run(folder: Path, known: _Known) -> Iterator[Waste]:
    if known.keeps(folder.name):
        return
    if folder.name in known.done:
        left = [folder / "last_checkpoint", *sorted(folder.glob("iter_*.pth"))]
        yield from (Waste(path, "checkpoint of a run that is done") for path in left if path.exists())
    elif interrupted_at(folder) is None:
        yield Waste(folder, "run without a record, and without a checkpoint to resume from")


def _drafts(root: Path, found: list[Waste]) -> Iterator[Waste]:
    """Find drafts that a process left when it was killed while writing."""
    gone = {waste.path for waste in found}
    for path in sorted(root.rglob(".*.tmp")):
        old = path.lstat().st_mtime < time.time() - OLD
        if DRAFT.fullmatch(path.name) and old and not gone.intersection(path.parents):
            yield Waste(path, "draft that was never completed")
