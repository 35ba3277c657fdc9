"""Tables for humans in any markup: of leaderboards, and of a comparison over rankings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from kdbench.results.across import Across
from kdbench.results.formats import blocks, escape, grid, line, percent, rows

if TYPE_CHECKING:
    from rich.table import Table

ACROSS_LEGEND = (
    "Methods over several rankings, each compared only with those that were run where it was. Rank 1 is best; the "
    "plain student (none) is ranked with them. The verdict is against it: Friedman's test must find a difference, "
    "and the average ranks be apart by more than Nemenyi's critical difference (5 %; Demšar 2006). Gain is the "
    "mean over the rankings of the difference to the plain student over its score. With few "
    "rankings these tests find little."
)
_LATEX = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "[": "{[}",
    "]": "{]}",
}


@dataclass(frozen=True)
class Sheet:
    """A table.

    Attributes:
        heading: What it is about.
        titles: The heads of its columns; the first and the last column are words, the others numbers.
        cells: Its rows.
    """

    heading: str
    titles: list[str]
    cells: list[list[str]]

    def markdown(self) -> str:
        """As markdown, below a heading of level 2."""
        align = ["---", *["---:"] * (len(self.titles) - 2), "---"]
        lines = [line([escape(cell) for cell in row]) for row in self.cells]
        return "\n".join([f"## {escape(self.heading)}", "", line(self.titles), line(align), *lines])

    def latex(self) -> str:
        """As a LaTeX table for the packages booktabs and adjustbox, at most as wide as the text."""
        align = f"l{'r' * (len(self.titles) - 2)}l"
        lines = [" & ".join(latex(cell) for cell in row) + r" \\" for row in [self.titles, *self.cells]]
        body = [lines[0], r"\midrule", *lines[1:]]
        table = [rf"\begin{{tabular}}{{{align}}}", r"\toprule", *body, r"\bottomrule", r"\end{tabular}"]
        inside = [r"\begin{adjustbox}{max width=\textwidth}", *table, r"\end{adjustbox}"]
        caption = rf"\caption{{{latex(self.heading)}}}"
        return "\n".join([r"\begin{table}", r"\centering", caption, *inside, r"\end{table}"])

    def rich(self) -> Table:
        """For a terminal, without its heading; long words fold."""
        from rich.box import SIMPLE_HEAD
        from rich.table import Table
        from rich.text import Text

        table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for place, title in enumerate(self.titles):
            words = place in (0, len(self.titles) - 1)
            table.add_column(Text(title), justify="left" if words else "right", overflow="fold")
        for row in self.cells:
            table.add_row(*map(Text, row))
        return table


def latex(text: str) -> str:
    """Text in LaTeX: nothing of it acts, and the sign of a number is a minus."""
    escaped = "".join(_LATEX.get(c, c) for c in " ".join(text.split()))
    return re.sub(r"(?<![\w-])-(?=[0-9])", "$-$", escaped)


def leaderboard_sheets(frame: pd.DataFrame) -> list[Sheet]:
    """A table a ranking."""
    return [Sheet(heading, *grid(block)) for heading, block in blocks(frame)]


def across_sheets(found: Across) -> list[Sheet]:
    """A table a comparison, the one over most rankings first."""
    heads = ["method", "average rank", "gain", "p vs none", "verdict"]
    sheets = []
    for _, block in found.frame.groupby("comparison", sort=True):
        known = rows(block)
        sheets.append(Sheet(_heading(known[0], len(found.rankings)), heads, [_cells(row) for row in known]))
    return sheets


def _heading(row: dict[str, Any], rankings: int) -> str:
    return (
        f"{row['rankings']} of {rankings} rankings ({row['where']}): Friedman p = {row['friedman_p']:.2g}, "
        f"critical difference {row['critical_difference']:.2f}"
    )


def _cells(row: dict[str, Any]) -> list[str]:
    gain, p = percent(row["relative_gain"], "+"), row["nemenyi_p"]
    return [
        row["method"],
        f"{row['average_rank']:.2f}",
        f"{gain} %" if gain else "",
        f"{p:.2g}" if p == p else "",
        row["verdict"],
    ]


def alone(found: Across) -> str:
    """A sentence on the methods that were run in one ranking only; blank where there is none."""
    methods: dict[str, list[str]] = {}
    for method, where in found.alone.items():
        methods.setdefault(where, []).append(method)
    told = "; ".join(f"{', '.join(names)} ({where})" for where, names in sorted(methods.items()))
    return f"Run in one ranking only, and so not compared here: {told}." if told else ""
