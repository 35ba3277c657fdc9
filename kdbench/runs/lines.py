"""Progress as plain lines: in the log of a notebook or script, and on a screen that is no terminal."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from kdbench.runs.cells import score, told
from kdbench.runs.elapsed import Pace, span
from kdbench.runs.status import Snapshot
from kdbench.runs.sweep_state import Settled

TRAINING_EVERY, SWEEP_EVERY = 10.0, 60.0
"""Seconds between two lines on a training, and on a whole sweep."""

Say = Callable[[str], object]
LOG: Say = logging.getLogger("kdbench").info
"""Write a line to the logger ``kdbench``."""


class LineConsole:
    """Shows a run as lines.

    Args:
        say: Receives each line.
    """

    def __init__(self, say: Say = LOG) -> None:
        self._say = say

    def say(self, line: str) -> None:
        """Write one line."""
        self._say(line)

    @contextmanager
    def stage(self, title: str, iterations: int) -> Iterator[LineStage]:
        """Show a training of so many iterations while the block lasts."""
        self.say(f"{title}, {iterations} iterations")
        yield LineStage(self.say, iterations)


class LineStage:
    """Shows a training as lines.

    Args:
        say: Receives each line.
        iterations: Length of the training.
    """

    def __init__(self, say: Say, iterations: int) -> None:
        self.say, self.iterations = say, iterations
        self.pace = Pace()
        self.shown = time.monotonic()

    def advance(self, iteration: int, losses: dict[str, float]) -> None:
        """Write a line every ten seconds, with the time left at the mean speed so far."""
        now, left = time.monotonic(), self.pace.left(iteration, self.iterations)
        if now - self.shown < TRAINING_EVERY or left is None:
            return
        self.shown = now
        parts = (f"{iteration}/{self.iterations}", loss_of(losses), f"ETA {span(left)}")
        self.say("  " + ", ".join(filter(None, parts)))

    def evaluated(self, iteration: int, metrics: dict[str, float]) -> None:
        """Write the metrics of an evaluation, without those of single classes."""
        self.say(f"  after {iteration} iterations: {told(metrics)}")


def loss_of(losses: dict[str, float]) -> str:
    """Return the total loss in words; nothing where it is not known."""
    return f"loss {losses['loss']:.3f}" if "loss" in losses else ""


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
        if time.monotonic() - self.shown >= SWEEP_EVERY:
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
