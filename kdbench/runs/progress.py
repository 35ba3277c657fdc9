"""A worker's progress while it trains: lines in its log, and a small file that others read."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import Field, ValidationError

from kdbench.files import read_regular, write_atomically
from kdbench.runs.cells import told
from kdbench.runs.claims_owner import Owner
from kdbench.runs.elapsed import Pace
from kdbench.specs import Spec

EVERY = 1.0
"""Seconds between two writings, at least."""
LINE_EVERY = 60.0
"""Seconds between two lines on the iterations in the log."""


def tell_others(file: Path, told: Spec) -> None:
    """Say how far a process is; where the file cannot be written, on a full disk, the old one stays."""
    with contextlib.suppress(OSError):
        write_atomically(file, told.model_dump_json(), lasting=False)


class PackProgress(Spec):
    """Content of a pack's ``progress.json``."""

    pack: str
    title: str
    cells: dict[str, str]
    """Identity -> title, of the cells that the worker runs."""
    owner: Owner
    """The worker."""
    training: str = ""
    """What it trains now."""
    iteration: int = 0
    iterations: int = 0
    seconds_left: float | None = None
    """Of this training, at its mean speed so far, s."""
    metrics: dict[str, float] = Field(default_factory=dict)
    """Last evaluation's."""
    ended: bool = False
    refused: dict[str, str] = Field(default_factory=dict)
    """Identity -> why, of the cells that cannot be run and have no record."""


def read(folder: Path) -> PackProgress | None:
    """Read the progress in a pack's folder; None where there is none or it is of another version."""
    try:
        return PackProgress.model_validate_json(read_regular(folder / "progress.json"))
    except (OSError, ValidationError):
        return None


def forget(folder: Path) -> None:
    """Remove the progress of an earlier worker, so that what is read is of the next one."""
    with contextlib.suppress(OSError):
        (folder / "progress.json").unlink()


class WorkerConsole:
    """A session's console in a worker.

    Args:
        folder: The pack's folder.
        progress: What is known at the start.
    """

    def __init__(self, folder: Path, progress: PackProgress) -> None:
        self.file = folder / "progress.json"
        self.progress = progress
        self._written = 0.0
        self.tell()

    def say(self, line: str) -> None:
        """Write a line to the log."""
        print(line, file=sys.stderr, flush=True)

    @contextmanager
    def stage(self, title: str, iterations: int) -> Iterator[TrainingProgress]:
        """Show a training while it lasts."""
        self.say(f"{title}, {iterations} iterations")
        training = TrainingProgress(self, title, iterations)
        self.show(training)
        yield training

    def advanced(self, training: TrainingProgress) -> None:
        """Write the progress of a training, unless that was done a moment ago."""
        if time.monotonic() - self._written >= EVERY:
            self.show(training)

    def show(self, training: TrainingProgress) -> None:
        """Tell how far a training is."""
        self.tell(
            training=training.title,
            iteration=training.iteration,
            iterations=training.iterations,
            seconds_left=training.seconds_left,
            metrics=training.metrics,
        )

    def tell(self, **changes: object) -> None:
        """Write the progress now; a full disk does not stop a training."""
        self.progress = self.progress.model_copy(update=changes)
        self._written = time.monotonic()
        tell_others(self.file, self.progress)


class TrainingProgress:
    """One training in a worker.

    Args:
        console: Receives progress messages.
        title: What is trained.
        iterations: How long it is.
    """

    def __init__(self, console: WorkerConsole, title: str, iterations: int) -> None:
        self.console, self.title, self.iterations = console, title, iterations
        self.iteration = 0
        self.seconds_left: float | None = None
        self.metrics: dict[str, float] = {}
        self.pace = Pace()
        self.said = time.monotonic()

    def advance(self, iteration: int, losses: dict[str, float]) -> None:
        """Report that ``iteration`` iterations are done; ``losses`` are the last ones."""
        now = time.monotonic()
        self.iteration, self.seconds_left = iteration, self.pace.left(iteration, self.iterations)
        self.console.advanced(self)
        if now - self.said >= LINE_EVERY:
            self.said = now
            loss = f", loss {losses['loss']:.3f}" if "loss" in losses else ""
            self.console.say(f"  {self.title}: {iteration}/{self.iterations}{loss}")

    def evaluated(self, iteration: int, metrics: dict[str, float]) -> None:
        """Report the metrics of the model after ``iteration`` iterations; those of single classes are left out."""
        self.iteration = iteration
        self.metrics = {name: value for name, value in metrics.items() if "/" not in name}
        self.console.say(f"  {self.title} after {iteration} iterations: {told(metrics)}")
        self.console.advanced(self)
