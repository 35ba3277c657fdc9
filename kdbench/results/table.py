"""A table of text as markdown, CSV, LaTeX or for a terminal, and a column of values."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from kdbench.text import HIDDEN, line, printable

if TYPE_CHECKING:
    from rich.table import Table as RichTable

T = TypeVar("T")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?(e[+-][0-9]+)?\Z")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
WORD = 8
"""Letters of a word that a narrow terminal keeps together."""
_RULES = {"l": "---", "r": "---:"}
_LATEX = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "[": "{[}",
    "]": "{]}",
    HIDDEN: "?",
}


@dataclass(frozen=True)
class Column(Generic[T]):
    """A column of a table.

    Attributes:
        title: Its heading.
        help: What it means.
        text: The text of a row's cell.
        value: The number that a row's cell sorts by, None or NaN for a blank; None where cells sort by their text.
        number: Whether its cells are numbers, which are aligned to the right.
        extra: Whether the web page hides it until all columns are asked for.
    """

    title: str
    help: str
    text: Callable[[T], str]
    value: Callable[[T], Any] | None = None
    number: bool = True
    extra: bool = False

    def key(self, row: T) -> str:
        """Return what the web page sorts a row's cell by; a blank sorts last."""
        if self.value is None:
            return self.text(row)
        value = self.value(row)
        return "" if value is None or value != value else f"{value:.9g}"


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        titles: The headings of its columns.
        rows: Its cells, row by row.
        align: A letter for each column: ``l`` for words, ``r`` for numbers.
        heading: What it shows; blank if the surrounding text says so.
        note: What to know about its numbers, or blank.
    """

    titles: Sequence[str]
    rows: Sequence[Sequence[str]]
    align: str
    heading: str = ""
    note: str = ""

    def markdown(self) -> str:
        """Return the table as markdown, under a heading of level 2 if it has one."""
        table = markdown_table(
            map(escape, self.titles), (map(escape, cells) for cells in self.rows), self.align
        )
        parts = [f"## {escape(self.heading)}" if self.heading else "", table, escape(self.note)]
        return "\n\n".join(filter(None, parts))

    def csv(self) -> str:
        """Return the table as CSV, in which a spreadsheet takes no cell for a formula."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(map(guard, self.titles))
        writer.writerows(map(guard, cells) for cells in self.rows)
        return buffer.getvalue()

    def latex(self) -> str:
        """Return the table as LaTeX, at most as wide as the text; it needs the packages booktabs and adjustbox."""
        lines = [" & ".join(map(latex, cells)) + r" \\" for cells in [self.titles, *self.rows]]
        body = [lines[0], r"\midrule", *lines[1:]]
        table = [rf"\begin{{tabular}}{{{self.align}}}", r"\toprule", *body, r"\bottomrule", r"\end{tabular}"]
        inside = [r"\begin{adjustbox}{max width=\textwidth}", *table, r"\end{adjustbox}"]
        caption = rf"\caption{{{latex(f'{self.heading}. {self.note}' if self.note else self.heading)}}}"
        return "\n".join([r"\begin{table}", r"\centering", caption, *inside, r"\end{table}"])

    def rich(self) -> RichTable:
        """Return the table for a terminal: in a narrow one words and headings wrap, and numbers stay whole."""
        from rich.box import SIMPLE_HEAD
        from rich.table import Table as RichTable
        from rich.text import Text

        table = RichTable(
            title=Text(self.heading),
            title_justify="left",
            caption=Text(self.note) if self.note else None,
            caption_justify="left",
            box=SIMPLE_HEAD,
            padding=(0, 1, 0, 0),
            pad_edge=False,
        )
        for title, align, *column in zip(self.titles, self.align, *self.rows, strict=True):
            words = " ".join(map(str, column)).split()
            if align == "l":
                least = min(WORD, max(map(len, words), default=1))
                table.add_column(Text(title), overflow="fold", min_width=least)
            else:
                head, spoken = "\n".join(title.rsplit(" ", 1)), any(map(str.isalpha, words))
                table.add_column(Text(head), justify="right", no_wrap=not spoken)
        for cells in self.rows:
            table.add_row(*map(Text, cells))
        return table


def markdown_table(titles: Iterable[str], rows: Iterable[Iterable[str]], align: str) -> str:
    """Return a markdown table; titles and cells are markdown already."""
    lines = [titles, [_RULES[letter] for letter in align], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def escape(text: str) -> str:
    """Return text for a cell of a markdown table, with pipes, tags, links, code and line breaks escaped."""
    marked = re.sub(r"([\\|`*])", r"\\\1", html.escape(line(text), quote=False))
    return marked.replace("](", "]\\(")


def guard(cell: str) -> str:
    """Return a cell of a CSV file that no spreadsheet takes for a formula; numbers stay as they are."""
    seen = printable(cell)
    return f"'{seen}" if cell.startswith(_FORMULA) and not _NUMBER.match(cell) else seen


def latex(text: str) -> str:
    """Return text for LaTeX, with its special characters escaped and the sign of a number as a minus."""
    escaped = "".join(_LATEX.get(c, c) for c in line(text))
    return re.sub(r"(?<![\w-])-(?=[0-9])", "$-$", escaped)
