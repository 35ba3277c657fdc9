"""The terminal that tables are printed to."""

from __future__ import annotations

from rich.console import Console

WIDTH = 200
"""Letters of a line where the output is no terminal."""


def screen() -> Console:
    """Return standard output as rich prints to it: as wide as tables take where it is no terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH)
