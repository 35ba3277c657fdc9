"""What a running session shows: a bar with an ETA in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console as Rich
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

LINE_EVERY = 10.0
"""Seconds between plain lines."""


class Stage:
    """One training on the screen.

    Args:
        console: Where it is shown.
        title: What is trained.
        iterations: How long it is.
        bar: The terminal's bar, or None for plain lines.
    """

    def __init__(self, console: Rich, title: str, iterations: int, bar: Progress | None) -> None:
        self.console, self.title, self.iterations, self.bar = console, title, iterations, bar
        self.task = bar.add_task(title, total=iterations, loss="") if bar is not None else None
        self.begun: tuple[int, float] | None = None
        self.shown = time.monotonic()

    def advance(self, iteration: int, losses: dict[str, float]) -> None:
        """Move the bar, or print a line every ten seconds."""
        loss = losses.get("loss", float("nan"))
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, completed=iteration, loss=f"loss {loss:.3f}")
            return
        now = time.monotonic()
        self.begun = self.begun or (iteration, now)
        if now - self.shown >= LINE_EVERY:
            self.shown = now
            done = max(iteration - self.begun[0], 1)
            left = (now - self.begun[1]) / done * (self.iterations - iteration)
            self.console.print(
                f"{self.title}: {iteration}/{self.iterations}, loss {loss:.3f}, {left:.0f} s left"
            )

    def evaluated(self, iteration: int, metrics: dict[str, float]) -> None:
        """Show the metrics of an evaluation, without those of single classes."""
        shown = ", ".join(f"{name} {value:.3f}" for name, value in metrics.items() if "/" not in name)
        self.console.print(f"  {self.title} at {iteration}: {shown}", highlight=False)


class TerminalConsole:
    """Shows a session on stderr.

    Args:
        quiet: Show nothing (the other processes of a distributed run).
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.rich = Rich(stderr=True, quiet=quiet)

    def say(self, line: str) -> None:
        """One line."""
        self.rich.print(line, highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def stage(self, title: str, iterations: int) -> Iterator[Stage]:
        """A training's bar, while it lasts."""
        if not self.rich.is_terminal:
            self.say(f"{title}: {iterations} iterations")
            yield Stage(self.rich, title, iterations, None)
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[loss]}"),
        )
        with Progress(*columns, console=self.rich) as bar:
            yield Stage(self.rich, title, iterations, bar)
