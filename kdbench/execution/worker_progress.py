"""What a worker tells while it trains: lines in its log, and a small file that others read."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import Field, ValidationError

from kdbench.execution.claims_owner import Owner
from kdbench.specs import Spec

EVERY = 1.0
"""Seconds between two writings, at least."""
LINE_EVERY = 60.0
"""Seconds between two lines on the iterations in the log."""


class Progress(Spec):
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


def read(folder: Path) -> Progress | None:
    """The progress in a pack's folder; None where there is none or it is of another version."""
    try:
        return Progress.model_validate_json((folder / "progress.json").read_bytes())
    except (OSError, ValidationError):
        return None


class WorkerConsole:
    """A session's console in a worker; several trainings may run at once, each in a thread of its own.

    Args:
        folder: The pack's folder.
        progress: What is known at the start.
    """

    def __init__(self, folder: Path, progress: Progress) -> None:
        self.file = folder / "progress.json"
        self.progress = progress
        self.running: list[Training] = []
        self._guard = threading.RLock()
        self._written = 0.0
        self.tell()

    def say(self, line: str) -> None:
        """A line in the log."""
        print(line, file=sys.stderr, flush=True)

    @contextmanager
    def stage(self, title: str, iterations: int) -> Iterator[Training]:
        """Shows a training while it lasts."""
        self.say(f"{title}, {iterations} iterations")
        training = Training(self, title, iterations)
        with self._guard:
            self.running.append(training)
            self.tell(**self._trainings())
        try:
            yield training
        finally:
            with self._guard:
                self.running.remove(training)

    def advanced(self) -> None:
        """A training got further: tell it, unless that was done a moment ago."""
        with self._guard:
            if self.running and time.monotonic() - self._written >= EVERY:
                self.tell(**self._trainings())

    def _trainings(self) -> dict[str, object]:
        """The trainings that run; of several, what the slowest has done."""
        slowest = min(self.running, key=lambda training: training.iteration / training.iterations)
        others = len(self.running) - 1
        return {
            "training": slowest.title + (f" and {others} more" if others else ""),
            "iteration": slowest.iteration,
            "iterations": slowest.iterations,
            "seconds_left": slowest.seconds_left,
            "metrics": slowest.metrics,
        }

    def tell(self, **changes: object) -> None:
        """Write the progress now; a full disk does not stop a training."""
        with self._guard:
            self.progress = self.progress.model_copy(update=changes)
            self._written = time.monotonic()
            draft = self.file.with_name(f".progress-{self.progress.owner.token}.tmp")
            with contextlib.suppress(OSError):
                draft.write_text(self.progress.model_dump_json())
                draft.replace(self.file)


class Training:
    """One training in a worker.

    Args:
        console: Where it is told.
        title: What is trained.
        iterations: How long it is.
    """

    def __init__(self, console: WorkerConsole, title: str, iterations: int) -> None:
        self.console, self.title, self.iterations = console, title, iterations
        self.iteration = 0
        self.seconds_left: float | None = None
        self.metrics: dict[str, float] = {}
        self.first: tuple[int, float] | None = None
        self.said = time.monotonic()

    def advance(self, iteration: int, losses: dict[str, float]) -> None:
        """``iteration`` iterations are done; ``losses`` are the last ones."""
        now = time.monotonic()
        self.iteration, self.first = iteration, self.first or (iteration, now)
        if done := iteration - self.first[0]:
            self.seconds_left = (now - self.first[1]) / done * (self.iterations - iteration)
        self.console.advanced()
        if now - self.said >= LINE_EVERY:
            self.said = now
            loss = f", loss {losses['loss']:.3f}" if "loss" in losses else ""
            self.console.say(f"  {self.title}: {iteration}/{self.iterations}{loss}")

    def evaluated(self, iteration: int, metrics: dict[str, float]) -> None:
        """The model after ``iteration`` iterations has these metrics; those of single classes are left out."""
        self.iteration = iteration
        self.metrics = {name: value for name, value in metrics.items() if "/" not in name}
        text = ", ".join(f"{name} {value:.3f}" for name, value in self.metrics.items())
        self.console.say(f"  {self.title} after {iteration} iterations: {text}")
        self.console.advanced()
