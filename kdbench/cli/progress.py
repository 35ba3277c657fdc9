"""What a running session shows: a bar with an ETA in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
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
from rich.table import Column

from kdbench.execution.cells import told
from kdbench.execution.elapsed import Pace, span

LINE_EVERY = 10.0
"""Seconds between plain lines."""
REST_OF_BAR = 68
"""Columns of a terminal that the parts of a bar besides its title take."""


class TerminalConsole:
    """Shows a session on stderr.

    Args:
        quiet: Show nothing (the other processes of a distributed run).
        screen: Where to show it; default: stderr.
    """

    def __init__(self, *, quiet: bool = False, screen: Console | None = None) -> None:
        self.screen = screen or Console(stderr=True, quiet=quiet)

    def say(self, line: str) -> None:
        """One line, never folded outside of a terminal."""
        self.screen.print(line, highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def stage(self, title: str, iterations: int) -> Iterator[Stage]:
        """A training's bar or lines, while it lasts."""
        self.say(f"{title}, {iterations} iterations")
        if not self.screen.is_terminal:
            yield LineStage(self, iterations)
            return
        with bar(self.screen) as shown:
            yield BarStage(self, shown, shown.add_task(escape(title), total=iterations, loss=""))


class Stage:
    """One training on the screen.

    Args:
        console: Where it is shown.
    """

    def __init__(self, console: TerminalConsole) -> None:
        self.console = console

    def advance(self, iteration: int, losses: dict[str, float]) -> None:
        """``iteration`` iterations are done; ``losses`` are the last ones."""
        raise NotImplementedError

    def evaluated(self, iteration: int, metrics: dict[str, float]) -> None:
        """Show the metrics of an evaluation, without those of single classes."""
        self.console.say(f"  after {iteration} iterations: {told(metrics)}")


class BarStage(Stage):
    """A training as a bar.

    Args:
        console: Where it is shown.
        bar: The running bar.
        task: The training in it.
    """

    def __init__(self, console: TerminalConsole, bar: Progress, task: TaskID) -> None:
        super().__init__(console)
        self.bar, self.task = bar, task

    def advance(self, iteration: int, losses: dict[str, float]) -> None:
        """Move the bar."""
        self.bar.update(self.task, completed=iteration, loss=loss_of(losses))


class LineStage(Stage):
    """A training as plain lines.

    Args:
        console: Where it is shown.
        iterations: How long it is.
    """

    def __init__(self, console: TerminalConsole, iterations: int) -> None:
        super().__init__(console)
        self.iterations = iterations
        self.pace = Pace()
        self.shown = time.monotonic()

    def advance(self, iteration: int, losses: dict[str, float]) -> None:
        """Print a line every ten seconds, with the time left at the mean speed so far."""
        now, left = time.monotonic(), self.pace.left(iteration, self.iterations)
        if now - self.shown < LINE_EVERY or left is None:
            return
        self.shown = now
        parts = (f"{iteration}/{self.iterations}", loss_of(losses), f"ETA {span(left)}")
        self.console.say("  " + ", ".join(filter(None, parts)))


def loss_of(losses: dict[str, float]) -> str:
    """The total loss for the screen."""
    return f"loss {losses['loss']:.3f}" if "loss" in losses else ""


def bar(screen: Console) -> Progress:
    """A bar that goes away when its training ends; long titles are cut, never the ETA."""
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
