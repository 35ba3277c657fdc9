"""Runtime settings: folders, loading processes, overrides. None of them is part of a result's identity."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from kdbench.openmmlab.training.run_files import WEIGHTS
from kdbench.results.store import Store
from kdbench.specs import Spec

PACKS = "packs"
"""Below the work directory: a folder for each pack of a sweep, with its file, its progress and its log."""
TUNING = "tuning"
"""Below the results, a file for each study; below the work directory, the records of its trainings."""


class RunSettings(Spec):
    """Runtime settings; none of them is part of a result's identity."""

    work_dir: Path = Path("out/runs")
    """Checkpoints, logs and trained weights are kept below it, in a folder for each run."""
    results: Path = Path("results")
    """Folder of the records."""
    workers: Annotated[int, Field(ge=0)] | None = None
    """Data loading processes; None: none on a CPU, with a GPU as many as there are spare cores for."""
    step_limit: Annotated[float, Field(gt=0)] | None = None
    """Seconds that one iteration may take before its run fails; None: any."""
    visualizers: tuple[str, ...] = ()
    """mmengine's visualisation backends beside its local one, such as ``TensorboardVisBackend``."""
    download: bool = False
    """Fetch initial weights that are not on disk."""
    force: bool = False
    """Continue although a gate failed; the record says so."""
    rerun: bool = False
    """Run cells again that have done records, and replace those records."""

    @property
    def store(self) -> Store:
        """The records."""
        return Store(self.results)

    def folder(self, spec: Spec) -> Path:
        """Return the folder of a run's checkpoints, logs and trained weights."""
        return run_folder(self.work_dir, spec.identity())

    def weights(self, spec: Spec) -> Path:
        """Return the file with a run's trained weights."""
        return self.folder(spec) / WEIGHTS

    def pack_folder(self, pack: str) -> Path:
        """Return the folder of a sweep's pack."""
        return self.work_dir / PACKS / pack


def run_folder(work_dir: Path, identity: str) -> Path:
    """Return the folder of a run in the folder of all runs."""
    return work_dir / identity[:16]
