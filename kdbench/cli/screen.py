"""What commands print: nothing in the text of plugins, records and files can act on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from kdbench.text import printable

if TYPE_CHECKING:
    from rich.console import Console


def echo(text: object = "", *, err: bool = False, nl: bool = True) -> None:
    """Print text.

    Args:
        text: What to print; line breaks and tabs stay.
        err: Print to standard error.
        nl: End with a line break.
    """
    click.echo(printable(str(text), keep="\n\t"), err=err, nl=nl)


def console(**options: Any) -> Console:
    """Return a console of rich, with the options of its constructor."""
    from rich.console import Console, ConsoleOptions, RenderHook, RenderResult
    from rich.segment import Segment

    class Seen:
        def __init__(self, shown: Any) -> None:
            self.shown = shown

        def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
            for part in console.render(self.shown, options):
                yield part if part.control else Segment(printable(part.text, keep="\n"), part.style)

    class Printable(RenderHook):
        def process_renderables(self, renderables: Sequence[Any]) -> list[Any]:
            return [Seen(shown) for shown in renderables]

    made = Console(**options)
    made.push_render_hook(Printable())
    return made


def page(width: int = 200) -> Console:
    """Return a console for tables: as wide as the terminal, or ``width`` where output is no terminal."""
    made = console()
    return made if made.is_terminal else console(width=width)
