"""Names of the files in a run's folder; imports nothing heavy."""

from __future__ import annotations

import re
from pathlib import Path

WEIGHTS = "student.pth"
"""The trained weights, of a student or a teacher."""
POINTER = "last_checkpoint"
"""File in which mmengine writes the absolute path of its newest checkpoint. kdbench looks for the checkpoints
themselves: the folder may have been moved, and that file may be damaged or gone."""
CHECKPOINT = re.compile(r"iter_([0-9]+)\.pth")


def checkpoints(work_dir: Path) -> dict[int, Path]:
    """Return the checkpoints of an unfinished training by their iterations, the newest first."""
    found = {CHECKPOINT.fullmatch(file.name): file for file in work_dir.glob("iter_*.pth")}
    numbered = {int(match[1]): file for match, file in found.items() if match is not None}
    return dict(sorted(numbered.items(), reverse=True))


def interrupted_at(work_dir: Path) -> int | None:
    """Return the iteration of the newest checkpoint, or None if there is none."""
    return next(iter(checkpoints(work_dir)), None)


def drop_checkpoints(work_dir: Path) -> None:
    """Remove what a training would resume from."""
    (work_dir / POINTER).unlink(missing_ok=True)
    for checkpoint in work_dir.glob("iter_*.pth"):
        checkpoint.unlink()
