"""With what a sweep's cells are run."""

from __future__ import annotations

from pathlib import Path

from kdbench.specs import Spec

FOLDER = "packs"
"""Below the work directory: a folder a pack, with its file, its progress and its log."""


class SweepMeans(Spec):
    """With what a sweep's cells are run; nothing here is part of a result's identity."""

    work_dir: Path
    results: Path
    workers: int | None = None
    """Data loading processes; None: as ``kdbench run`` chooses."""
    download: bool = False
    force: bool = False
    rerun: bool = False
    """Run the cells also where they have done records, which are replaced."""

    def folder(self, pack: str) -> Path:
        """The folder of a pack."""
        return self.work_dir / FOLDER / pack
