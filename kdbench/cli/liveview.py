"""A sweep on the screen: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from kdbench.execution.cells import score
from kdbench.execution.elapsed import span
from kdbench.execution.status import Snapshot
from kdbench.execution.sweep_state import Settled
from kdbench.execution.worker_progress import Progress

LINE_EVERY = 60.0
"""Seconds between plain lines on the whole sweep."""


class LineView:
    """A sweep as lines.

    Args:
        screen: Where they go.
        commands: Identity -> the command that runs the cell by hand.
    """

    def __init__(self, screen: Console, commands: Mapping[str, str]) -> None:
        self.screen, self.commands = screen, commands
        self.shown = 0.0

    def show(self, snapshot: Snapshot) -> None:
        """A line a minute."""
        if time.monotonic() - self.shown >= LINE_EVERY:
            self.shown = time.monotonic()
            self.say(summary(snapshot))

    def settled(self, settled: Settled, lines: Sequence[str]) -> None:
        """The cell's score, or why it has none, the end of its log and the command."""
        record, title = settled.record, settled.item.title
        if record is not None and record.done:
            self.say(f"{title}: {score(record)}")
            return
        self.say(f"FAILED {title}: {settled.why}")
        for line in lines:
            self.say(f"  | {line}")
        self.say(f"  by hand: {self.commands[settled.item.identity]}")

    def say(self, line: str) -> None:
        """One line, never folded."""
        self.screen.print(line, highlight=False, markup=False, soft_wrap=True)


class LiveView(LineView):
    """A sweep as a table that changes, below the lines of what is settled.

    Args:
        screen: A terminal.
        commands: Identity -> the command that runs the cell by hand.
        live: Where the table is.
    """

    def __init__(self, screen: Console, commands: Mapping[str, str], live: Live) -> None:
        super().__init__(screen, commands)
        self.live = live

    def show(self, snapshot: Snapshot) -> None:
        """Draw it anew."""
        self.live.update(picture(snapshot), refresh=True)


@contextmanager
def view_of(commands: Mapping[str, str], screen: Console | None = None) -> Iterator[LineView]:
    """The view that fits where the sweep is shown, on stderr by default."""
    shown = screen or Console(stderr=True)
    if not shown.is_terminal:
        yield LineView(shown, commands)
        return
    with Live(console=shown, auto_refresh=False, transient=True) as live:
        yield LiveView(shown, commands, live)


def summary(snapshot: Snapshot) -> str:
    """A sweep in one line."""
    left = f", ETA {span(snapshot.seconds_left)}" if snapshot.seconds_left is not None else ""
    if left and snapshot.untimed_teachers:
        left += f" and teachers of unknown time ({snapshot.untimed_teachers})"
    return f"{snapshot.total} cells: {snapshot.counts}{left}"


def picture(snapshot: Snapshot) -> Group:
    """A sweep as counts, a row a worker, and the best so far."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis")
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    for worker in snapshot.workers:
        table.add_row(*(Text(cell) for cell in row(worker)))
    best = [Text(f"best so far: {line}") for line in snapshot.best]
    return Group(Text(summary(snapshot)), table, *best)


def row(worker: Progress) -> tuple[str, str, str, str]:
    """A worker: its pack, what it trains, how far that is, and when it ends."""
    if not worker.training:
        return worker.title, "starts", "", ""
    metrics = " ".join(f"{name} {value:.3f}" for name, value in list(worker.metrics.items())[:1])
    left = f"ETA {span(worker.seconds_left)}" if worker.seconds_left is not None else ""
    at = f"{worker.iteration}/{worker.iterations}"
    return worker.title, worker.training, at, " ".join(filter(None, (left, metrics)))
