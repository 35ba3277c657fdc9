"""Leaderboards as text: CSV for machines, markdown for pages, tables for terminals."""

from __future__ import annotations

import csv
import html
import io
import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pandas as pd

from kdbench.results.leaderboard import GROUP, TEACHER_ROW

if TYPE_CHECKING:
    from rich.table import Table

_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?\Z")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_PERCENT = ("mean", "std", "difference", "low", "high", "gap_closed")
LEGEND = (
    "Scores are x100, on the test split after the last iteration; none is the plain student. The difference "
    "is to it, paired by seed, with its 95 % t interval; better and worse mean that the interval excludes "
    "zero. Gap closed is the share of the way from the plain student to the teacher. Time is that of an "
    "iteration relative to the plain student, roughly: each run measured its own, beside whatever else ran then. "
    "Failed and timed-out runs are counted and never averaged."
)
WIDE = 105
"""Columns of a terminal from which on a table needs no folding."""


def to_csv(frame: pd.DataFrame) -> str:
    """The frame as CSV: fractions x100 with one decimal, blanks empty, no cell a spreadsheet would run."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(frame.columns)
    for row in rows(frame):
        writer.writerow([guard(_csv_cell(name, row)) for name in frame.columns])
    return buffer.getvalue()


def to_markdown(frame: pd.DataFrame) -> str:
    """A markdown table a ranking, under a heading that names pair, recipe and teacher."""
    parts = []
    for heading, block in blocks(frame):
        titles = _titles(block)
        lines = [
            f"## {escape(heading)}",
            "",
            line(titles),
            line(["---"] + ["---:"] * (len(titles) - 2) + ["---"]),
        ]
        lines += [line([escape(cell) for cell in _cells(row)]) for row in rows(block)]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def to_tables(frame: pd.DataFrame, width: int) -> list[Table]:
    """A rich table a ranking, for a terminal of so many columns."""
    return [_table(heading, block, narrow=width < WIDE) for heading, block in blocks(frame)]


def _table(heading: str, block: pd.DataFrame, narrow: bool) -> Table:
    """Words below each other where it is narrow; only a method's name may break."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    def text(words: str) -> Text:
        return Text(words.replace(" ", "\n") if narrow else words)

    box = None if narrow else SIMPLE_HEAD
    table = Table(title=Text(heading), title_justify="left", box=box, padding=(0, 1, 0, 0))
    titles = _titles(block)
    table.add_column(text(titles[0]), overflow="fold")
    for title in titles[1:-1]:
        table.add_column(text(title), justify="right", no_wrap=True)
    table.add_column(text(titles[-1]), no_wrap=True)
    for row in rows(block):
        cells = zip(titles, _cells(row), strict=True)
        table.add_row(*(text(cell) if title in ("std", "verdict") else Text(cell) for title, cell in cells))
    return table


def guard(cell: str) -> str:
    """A CSV cell that no spreadsheet takes for a formula; numbers stay as they are."""
    return f"'{cell}" if cell.startswith(_FORMULA) and not _NUMBER.match(cell) else cell


def escape(text: str) -> str:
    """Text for a cell of a markdown table: no pipe, tag, code or line break of it acts."""
    marked = re.sub(r"([\\|`*])", r"\\\1", html.escape(text, quote=False))
    return " ".join(marked.split())


def rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as dicts by column."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict(orient="records")]


def blocks(frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The rankings in a frame, each with a heading that names pair, recipe and teacher."""
    for _, block in frame.groupby(GROUP, sort=False):
        row = rows(block)[0]
        teacher = f", teacher {row['teacher']}" if row["teacher"] else ""
        yield (
            f"{row['dataset']}: {row['pair']} ({row['schedule']} schedule, recipe {row['recipe']}{teacher})",
            block,
        )


def _titles(block: pd.DataFrame) -> list[str]:
    metric = str(block["metric"].iloc[0])
    middle = ["seeds", metric, "std", "vs plain", "95 % interval", "gap closed", "time", "failed"]
    return ["method", *middle, "verdict"]


def _cells(row: dict[str, Any]) -> list[str]:
    """One row for humans."""
    share = percent(row["gap_closed"])
    return [
        *measured(row),
        f"{share} %" if share else "",
        "" if math.isnan(row["time_ratio"]) else f"{row['time_ratio']:.2f}x",
        str(row["failed"]) if row["failed"] else "",
        row["verdict"],
    ]


def measured(row: dict[str, Any]) -> list[str]:
    """Method, seeds, mean, standard deviation, difference to the plain student and its interval, for humans."""
    return [
        row["method"],
        str(row["seeds"]) if row["seeds"] else "",
        percent(row["mean"]),
        spread(row),
        percent(row["difference"], "+"),
        interval(row),
    ]


def interval(row: dict[str, Any]) -> str:
    """The 95 % interval, and how many seeds it is from where that is not all of the row's."""
    if not row["shared_seeds"]:
        return ""
    ends = f"[{percent(row['low'], '+')}, {percent(row['high'], '+')}]" if row["shared_seeds"] > 1 else ""
    few = f"({row['shared_seeds']} shared)" if row["shared_seeds"] != row["seeds"] else ""
    return f"{ends} {few}".strip()


def spread(row: dict[str, Any]) -> str:
    """The standard deviation, or that there is one seed only."""
    single = row["seeds"] == 1 and row["method"] != TEACHER_ROW
    return "one seed" if single else percent(row["std"])


def percent(value: float, sign: str = "") -> str:
    """A fraction x100 with one decimal (and its sign); blank when NaN; never "-0.0"."""
    return "" if math.isnan(value) else f"{round(100 * value, 1) + 0.0:{sign}.1f}"


def _csv_cell(name: str, row: dict[str, Any]) -> str:
    value = row[name]
    if name == "std":
        return spread(row)
    if name in _PERCENT:
        return percent(value)
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.3f}"
    return str(value)


def line(cells: list[str]) -> str:
    """A row of a markdown table."""
    return "| " + " | ".join(cells) + " |"
