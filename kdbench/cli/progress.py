"""What a running session shows: a bar with an ETA in a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
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

from kdbench.cli import with_options
from kdbench.cli.screen import console
from kdbench.runs.lines import LineStage, loss_of

REST_OF_BAR = 68
"""Columns of a terminal that the parts of a bar besides its title take."""


class TerminalConsole:
    """Shows a session on stderr.

    Args:
        screen: Where to show it; default: stderr.
    """

    def __init__(self, screen: Console | None = None) -> None:
        self.screen = screen or stderr()

    def say(self, line: str) -> None:
        """Print one line, never folded outside of a terminal."""
        print_line(self.screen, line)

    @contextmanager
    def stage(self, title: str, iterations: int) -> Iterator[LineStage]:
        """Show a training's bar or lines while it lasts."""
        self.say(f"{title}, {iterations} iterations")
        if not self.screen.is_terminal:
            yield LineStage(self.say, iterations)
            return
        with bar(self.screen) as shown:
            task = shown.add_task(escape(title), total=iterations, loss="")
            yield BarStage(self, shown, task, iterations)


def stderr() -> Console:
    """Return a console on stderr, which is quiet where kdbench's log is."""
    return console(stderr=True, quiet=not logging.getLogger("kdbench").isEnabledFor(logging.INFO))


def print_line(screen: Console, line: str) -> None:
    """Print one line, with options in place of arguments, never folded outside of a terminal."""
    screen.print(with_options(line), highlight=False, markup=False, soft_wrap=True)


class BarStage(LineStage):
    """A training as a bar.

    Args:
        console: Where it is shown.
        bar: The running bar.
        task: The training in it.
        iterations: Length of the training.
    """

    def __init__(self, console: TerminalConsole, bar: Progress, task: TaskID, iterations: int) -> None:
        super().__init__(console.say, iterations)
        self.bar, self.task = bar, task

    def advance(self, iteration: int, losses: dict[str, float]) -> None:
        """Move the bar."""
        self.bar.update(self.task, completed=iteration, loss=loss_of(losses))


def bar(screen: Console) -> Progress:
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
