"""A table of text, written as markdown, CSV, LaTeX or for a terminal."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kdbench.text import HIDDEN, line, printable

if TYPE_CHECKING:
    from rich.table import Table as RichTable

_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?(e[+-][0-9]+)?\Z")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
WORD = 8
"""Letters of a word that stay together in a narrow terminal."""
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
class Table:
    """A table.

    Attributes:
        titles: The heads of its columns.
        rows: Its cells, row by row.
        align: A letter a column: ``l`` for words, ``r`` for numbers.
        heading: What it shows; blank where the text around it says so.
        note: What to know of its numbers, or blank.
    """

    titles: Sequence[str]
    rows: Sequence[Sequence[str]]
    align: str
    heading: str = ""
    note: str = ""

    def markdown(self) -> str:
        """Return it as markdown, below its heading of level 2 if it has one."""
        table = markdown_table(
            map(escape, self.titles), (map(escape, cells) for cells in self.rows), self.align
        )
        parts = [f"## {escape(self.heading)}" if self.heading else "", table, escape(self.note)]
        return "\n\n".join(filter(None, parts))

    def csv(self) -> str:
        """Return it as CSV, in which no cell is a formula to a spreadsheet."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(map(guard, self.titles))
        writer.writerows(map(guard, cells) for cells in self.rows)
        return buffer.getvalue()

    def latex(self) -> str:
        """Return it as a LaTeX table for the packages booktabs and adjustbox, at most as wide as the text."""
        lines = [" & ".join(map(latex, cells)) + r" \\" for cells in [self.titles, *self.rows]]
        body = [lines[0], r"\midrule", *lines[1:]]
        table = [rf"\begin{{tabular}}{{{self.align}}}", r"\toprule", *body, r"\bottomrule", r"\end{tabular}"]
        inside = [r"\begin{adjustbox}{max width=\textwidth}", *table, r"\end{adjustbox}"]
        caption = rf"\caption{{{latex(f'{self.heading}. {self.note}' if self.note else self.heading)}}}"
        return "\n".join([r"\begin{table}", r"\centering", caption, *inside, r"\end{table}"])

    def rich(self) -> RichTable:
        """Return it for a terminal: numbers stay whole, words and heads wrap where it is narrow."""
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
    """Return a markdown table of cells that are markdown already."""
    lines = [titles, [_RULES[letter] for letter in align], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def escape(text: str) -> str:
    """Return text for a cell of a markdown table: no pipe, tag, link, code or line break of it acts."""
    marked = re.sub(r"([\\|`*])", r"\\\1", html.escape(line(text), quote=False))
    return marked.replace("](", "]\\(")


def guard(cell: str) -> str:
    """Return a CSV cell that no spreadsheet takes for a formula; numbers stay as they are."""
    seen = printable(cell)
    return f"'{seen}" if cell.startswith(_FORMULA) and not _NUMBER.match(cell) else seen


def latex(text: str) -> str:
    """Return text in LaTeX: nothing of it acts, and the sign of a number is a minus."""
    escaped = "".join(_LATEX.get(c, c) for c in line(text))
    return re.sub(r"(?<![\w-])-(?=[0-9])", "$-$", escaped)
