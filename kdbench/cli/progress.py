"""Progress on the screen: bars and a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table
from rich.text import Text

from kdbench.cli import with_options
from kdbench.cli.screen import console
from kdbench.runs.progress import LineConsole, LineStage, PackProgress, loss_of, span
from kdbench.runs.status import LineView, Snapshot, summary

REST_OF_BAR = 68
"""Columns of a terminal that the parts of a bar besides its title take."""


class TerminalConsole(LineConsole):
    """Shows trainings on stderr.

    Args:
        screen: Where to show them; default: stderr.
    """

    def __init__(self, screen: Console | None = None) -> None:
        self.screen = screen or stderr()
        super().__init__(partial(print_line, self.screen))

    @contextmanager
    def stage(self, title: str, iterations: int) -> Iterator[LineStage]:
        """Show the bar or the lines of a training while the block lasts."""
        with super().stage(title, iterations) as stage:
            if not self.screen.is_terminal:
                yield stage
                return
            with _bar(self.screen) as bar:
                yield BarStage(self, bar, bar.add_task(escape(title), total=iterations, loss=""), iterations)


class BarStage(LineStage):
    """Shows one training as a bar.

    Args:
        console: Receives the lines.
        bar: The running bar.
        task: The training in it.
        iterations: Length of the training.
    """

    def __init__(self, console: LineConsole, bar: Progress, task: TaskID, iterations: int) -> None:
        super().__init__(console, iterations)
        self.bar, self.task = bar, task

    def advance(self, iteration: int, losses: dict[str, float]) -> None:
        """Move the bar."""
        self.bar.update(self.task, completed=iteration, loss=loss_of(losses))


def stderr() -> Console:
    """Return a console on stderr, which is quiet where kdbench's log is."""
    return console(stderr=True, quiet=not logging.getLogger("kdbench").isEnabledFor(logging.INFO))


def print_line(screen: Console, line: str) -> None:
    """Print one line, with options in place of arguments, never folded outside of a terminal."""
    screen.print(with_options(line), highlight=False, markup=False, soft_wrap=True)


def _bar(screen: Console) -> Progress:
    """Make a progress bar that goes away when its training ends; long titles are cut, never the ETA."""
    title = Column(no_wrap=True, overflow="ellipsis", max_width=max(16, screen.width - REST_OF_BAR))
    return Progress(
        TextColumn("{task.description}", table_column=title),
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[loss]}"),
        console=screen,
        transient=True,
    )


class LiveView(LineView):
    """A sweep as a table that changes, below the lines of what is settled.

    Args:
        live: The table in a terminal.
    """

    def __init__(self, live: Live) -> None:
        super().__init__(partial(print_line, live.console))
        self.live = live

    def show(self, snapshot: Snapshot) -> None:
        """Draw the table again."""
        self.live.update(picture(snapshot), refresh=True)


@contextmanager
def view_of(screen: Console | None = None) -> Iterator[LineView]:
    """Return the view that fits where the sweep is shown, by default stderr."""
    shown = screen or stderr()
    if not shown.is_terminal:
        yield LineView(partial(print_line, shown))
        return
    with Live(console=shown, auto_refresh=False, transient=True) as live:
        yield LiveView(live)


def picture(snapshot: Snapshot) -> Group:
    """Draw a sweep: counts, a row for each worker, and the best method so far."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis")
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    for worker in snapshot.workers:
        table.add_row(*(Text(cell) for cell in row(worker)))
    best = [Text(f"best so far: {line}") for line in snapshot.best]
    return Group(Text(summary(snapshot)), table, *best)


def row(worker: PackProgress) -> tuple[str, str, str, str]:
    """Draw a worker: its pack, what it trains, how far it is, and its ETA."""
    if not worker.training:
        return worker.title, "starts", "", ""
    metrics = " ".join(f"{name} {value:.3f}" for name, value in list(worker.metrics.items())[:1])
    left = f"ETA {span(worker.seconds_left)}" if worker.seconds_left is not None else ""
    at = f"{worker.iteration}/{worker.iterations}"
    return worker.title, worker.training, at, " ".join(filter(None, (left, metrics)))
