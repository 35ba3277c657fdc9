"""Progress of trainings: lines in a log, and a small file of each worker that others read."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import Field, ValidationError

from kdbench.files import read_regular, write_atomically
from kdbench.runs.cells import shown
from kdbench.runs.claims_owner import Owner
from kdbench.specs import Spec

LINE_EVERY, WORKER_LINE_EVERY = 10.0, 60.0
"""Seconds between two lines on the iterations of a training, at least; a worker's are read when it is over."""
WRITE_EVERY = 1.0
"""Seconds between two writes of a worker's file, at least."""

Say = Callable[[str], object]
LOG: Say = logging.getLogger("kdbench").info
"""Write a line to the logger ``kdbench``."""


def span(seconds: float) -> str:
    """Format a duration as ``42 s``, ``5 min 07 s`` or ``2 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class LineConsole:
    """Shows trainings as lines.

    Args:
        say: Receives each line.
        every: Seconds between two lines on the iterations of a training, at least.
    """

    def __init__(self, say: Say = LOG, every: float = LINE_EVERY) -> None:
        self._say, self.every = say, every

    def say(self, line: str) -> None:
        """Write one line."""
        self._say(line)

    @contextmanager
    def stage(self, title: str, iterations: int) -> Iterator[LineStage]:
        """Show a training of so many iterations while the block lasts."""
        self.say(f"{title}, {iterations} iterations")
        yield LineStage(self, iterations)


class LineStage:
    """Shows one training as lines.

    Args:
        console: Receives the lines.
        iterations: Length of the training.
    """

    def __init__(self, console: LineConsole, iterations: int) -> None:
        self.console, self.iterations = console, iterations
        self.seconds_left: float | None = None
        self._first: tuple[int, float] | None = None
        self._written = time.monotonic()

    def advance(self, iteration: int, losses: dict[str, float]) -> None:
        """Report that ``iteration`` iterations are done, with the last losses; write a line now and then."""
        now = time.monotonic()
        self.seconds_left = self._left(iteration, now)
        if now - self._written < self.console.every or self.seconds_left is None:
            return
        self._written = now
        parts = (f"{iteration}/{self.iterations}", loss_of(losses), f"ETA {span(self.seconds_left)}")
        self.console.say("  " + ", ".join(filter(None, parts)))

    def evaluated(self, iteration: int, metrics: dict[str, float]) -> None:
        """Write the metrics after ``iteration`` iterations, without those of single classes."""
        self.console.say(f"  after {iteration} iterations: {shown(metrics)}")

    def _left(self, iteration: int, now: float) -> float | None:
        """Return the seconds to the end at the mean speed so far; None at the first iteration that is reported."""
        first, begun = self._first = self._first or (iteration, now)
        done = iteration - first
        return (now - begun) / done * (self.iterations - iteration) if done else None


def loss_of(losses: dict[str, float]) -> str:
    """Return the total loss in words; empty where it is not known."""
    return f"loss {losses['loss']:.3f}" if "loss" in losses else ""


class PackProgress(Spec):
    """Content of a worker's ``progress.json``, in its pack's folder."""

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
    """Those of the last evaluation."""
    ended: bool = False
    refused: dict[str, str] = Field(default_factory=dict)
    """Identity -> why, of the cells that cannot be run and have no record."""


def read_progress(folder: Path) -> PackProgress | None:
    """Read the progress in a pack's folder; None where there is none or it is of another version."""
    try:
        return PackProgress.model_validate_json(read_regular(folder / "progress.json"))
    except (OSError, ValidationError):
        return None


def forget(folder: Path) -> None:
    """Remove the progress of an earlier worker from a pack's folder."""
    with contextlib.suppress(OSError):
        (folder / "progress.json").unlink()


def publish(file: Path, content: Spec) -> None:
    """Write a file that others watch; where that fails, such as on a full disk, the old one stays."""
    with contextlib.suppress(OSError):
        write_atomically(file, content.model_dump_json(), lasting=False)


class WorkerConsole(LineConsole):
    """Shows a worker's trainings as lines in its log and in its file.

    Args:
        folder: The pack's folder.
        progress: What is known at the start.
    """

    def __init__(self, folder: Path, progress: PackProgress) -> None:
        super().__init__(lambda line: print(line, file=sys.stderr, flush=True), WORKER_LINE_EVERY)
        self.file, self.progress = folder / "progress.json", progress
        self._written = 0.0
        self.publish()

    @contextmanager
    def stage(self, title: str, iterations: int) -> Iterator[LineStage]:
        """Show a training of so many iterations while the block lasts."""
        self.say(f"{title}, {iterations} iterations")
        self.publish(training=title, iteration=0, iterations=iterations, seconds_left=None, metrics={})
        yield _WorkerStage(self, iterations)

    def publish(self, *, at_once: bool = True, **changes: object) -> None:
        """Change the progress and write it to the file, at once or unless that was done a moment ago."""
        self.progress = self.progress.model_copy(update=changes)
        if at_once or time.monotonic() - self._written >= WRITE_EVERY:
            self._written = time.monotonic()
            publish(self.file, self.progress)


class _WorkerStage(LineStage):
    console: WorkerConsole

    def advance(self, iteration: int, losses: dict[str, float]) -> None:
        super().advance(iteration, losses)
        self.console.publish(at_once=False, iteration=iteration, seconds_left=self.seconds_left)

    def evaluated(self, iteration: int, metrics: dict[str, float]) -> None:
        super().evaluated(iteration, metrics)
        whole = {name: value for name, value in metrics.items() if "/" not in name}
        self.console.publish(at_once=False, iteration=iteration, metrics=whole)
