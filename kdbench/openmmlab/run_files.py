"""Names of the files in a run's folder; imports nothing heavy."""

from __future__ import annotations

import re
from pathlib import Path

WEIGHTS = "student.pth"
"""Trained weights, a teacher's too, as plain mmdet or mmseg loads them."""
POINTER = "last_checkpoint"
"""Where mmengine writes the absolute path of its newest checkpoint. kdbench looks for the files instead: the folder
may have been moved, and the path may be of a file that is damaged or gone."""
CHECKPOINT = re.compile(r"iter_([0-9]+)\.pth")


def checkpoints(work_dir: Path) -> dict[int, Path]:
    """Return iterations -> checkpoint of a training that is not done, the newest first."""
    found = {CHECKPOINT.fullmatch(file.name): file for file in work_dir.glob("iter_*.pth")}
    numbered = {int(match[1]): file for match, file in found.items() if match is not None}
    return dict(sorted(numbered.items(), reverse=True))


def interrupted_at(work_dir: Path) -> int | None:
    """Return the iterations that the newest checkpoint has seen, or None where there is none."""
    return next(iter(checkpoints(work_dir)), None)


def drop_checkpoints(work_dir: Path) -> None:
    """Remove what a training would go on from."""
    (work_dir / POINTER).unlink(missing_ok=True)
    for checkpoint in work_dir.glob("iter_*.pth"):
        checkpoint.unlink()
