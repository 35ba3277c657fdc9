"""A sweep on the screen: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from kdbench.cli.progress import print_line, stderr
from kdbench.runs.elapsed import span
from kdbench.runs.lines import LineView, summary
from kdbench.runs.progress import PackProgress
from kdbench.runs.status import Snapshot


class LiveView(LineView):
    """A sweep as a table that changes, below the lines of what is settled.

    Args:
        live: The table in a terminal.
    """

    def __init__(self, live: Live) -> None:
        super().__init__(partial(print_line, live.console))
        self.live = live

    def show(self, snapshot: Snapshot) -> None:
        """Draw it anew."""
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
    """Draw a sweep as counts, a row for each worker, and the best score so far."""
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
