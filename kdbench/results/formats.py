"""Leaderboards as text: CSV for machines, markdown for pages, tables for terminals."""

from __future__ import annotations

import csv
import html
import io
import math
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from kdbench.results.columns import BOOTSTRAP, GROUP, METRIC, TEACHER_ROW

if TYPE_CHECKING:
    from rich.table import Table

_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?(e[+-][0-9]+)?\Z")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_PERCENT = {
    *("mean", "std", "difference", "low", "high", "gap_closed", "best", "relative_gain", "paper_difference"),
    *BOOTSTRAP,
}
_WHOLE = {"peak_memory_mib", "added_parameters", "student_parameters", "student_flops"}
_PROBABILITY = {"p", "p_holm", "friedman_p", "nemenyi_p"}
LEGEND = (
    "Scores are x100, on the test split after the last iteration; none is the plain student. The difference "
    "is to it, paired by seed, with its own 95 % t interval. Better and worse are Holm-corrected over the rows of "
    "a ranking (paired t tests, 5 % for any false one), so a row may be no evidence though its own interval "
    "excludes zero. Gap closed is the share of the way from the plain student to the teacher. Time is that of an "
    "iteration relative to the plain student, only from seeds in which both were trained in turns in one process "
    "(lanes of a pack); elsewhere it is blank, since times of separate runs tell what else ran on the machine. "
    "Left out are failed, timed-out, skipped, smoke and missing cells: counted, and never averaged."
)
BOOTSTRAP_LEGEND = (
    "The interval shown is the percentile bootstrap's, too narrow with few seeds; verdicts stay the t test's."
)
REPORTED_LEGEND = (
    "By others: seeds whose records others report. They are checked for what contradicts itself or is implausible "
    "(`kdbench records add`), and were not run here."
)
LEFT_OUT = ("failed", "skipped", "smoke", "missing")
OPTIONAL = ("time", "left out")
"""Columns that a ranking shows to humans only where one of its rows has something in them."""
NAME = 16
"""Characters that names should have in a narrow terminal."""


def legend(frame: pd.DataFrame) -> str:
    """What the columns of a leaderboard mean."""
    told = {
        LEGEND: True,
        BOOTSTRAP_LEGEND: BOOTSTRAP[0] in frame,
        REPORTED_LEGEND: bool(frame["reported"].any()),
    }
    return " ".join(words for words, holds in told.items() if holds)


def to_csv(frame: pd.DataFrame) -> str:
    """The frame as CSV: fractions x100 with one decimal, blanks empty, no cell a spreadsheet would run."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(frame.columns)
    writer.writerows(zip(*(map(guard, _csv_column(str(name), frame)) for name in frame.columns), strict=True))
    return buffer.getvalue()


def to_markdown(frame: pd.DataFrame) -> str:
    """A markdown table a ranking, under a heading that names pair, recipe and teacher."""
    parts = []
    for heading, block in blocks(frame):
        words, table = grid(block)
        lines = [
            f"## {escape(heading)}",
            "",
            line(words),
            line(["---"] + ["---:"] * (len(words) - 2) + ["---"]),
        ]
        lines += [line([escape(cell) for cell in cells]) for cells in table]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def to_tables(frame: pd.DataFrame, width: int) -> list[Table]:
    """A rich table a ranking, for a terminal of so many columns."""
    return [_table(heading, block, width) for heading, block in blocks(frame)]


def _table(heading: str, block: pd.DataFrame, width: int) -> Table:
    """Where it is narrow heads are in two lines, then names break between their parts, then some words do."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    words, lines = grid(block)
    box = SIMPLE_HEAD if _width(words, lines) + 2 * len(words) < width else None
    if box is None:
        words = ["\n".join(filter(None, word.rpartition(" ")[::2])) for word in words]
        room = _room(words, lines, width)
        if room < NAME:
            lines = [[*_broken(words, cells)] for cells in lines]
            room = _room(words, lines, width)
        lines = [[folded(cells[0], room), *cells[1:]] for cells in lines]
    table = Table(title=Text(heading), title_justify="left", box=box, padding=(0, 1, 0, 0))
    table.add_column(Text(words[0]), overflow="fold")
    for word in words[1:-1]:
        table.add_column(Text(word), justify="right", no_wrap=True)
    table.add_column(Text(words[-1]), no_wrap=True)
    for cells in lines:
        table.add_row(*map(Text, cells))
    return table


def _width(words: list[str], lines: list[list[str]]) -> int:
    """Characters of a table's widest line, one between columns."""
    columns = zip(words, *lines, strict=True)
    return sum(max(len(part) for cell in column for part in cell.split("\n")) + 1 for column in columns)


def _room(words: list[str], lines: list[list[str]], width: int) -> int:
    """What the other columns leave to the names."""
    return width - _width(words[1:], [cells[1:] for cells in lines]) - 1


def _broken(words: list[str], cells: list[str]) -> Iterator[str]:
    """A row whose standard deviation, left out cells and verdict have a word a line."""
    for word, cell in zip(words, cells, strict=True):
        yield cell.replace(" ", "\n") if word in ("std", "left\nout", "verdict") else cell


def folded(selector: str, width: int) -> str:
    """A selector in lines that end after its marks, as far as its parts fit into so many characters."""
    lines = [""]
    for part in pieces(selector):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def pieces(selector: str) -> list[str]:
    """The pieces between which a selector is best broken: after its brackets and signs."""
    return re.split(r"(?<=[\[=,+-])", selector)


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
        parts = [f"{row['schedule']} schedule"]
        parts += [f"{key} {row[key]}" for key in ("recipe", "teacher") if row[key]]
        yield f"{row['dataset']}: {row['pair']} ({', '.join(parts)})", block


def grid(block: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """A ranking's table for humans: the heads of its columns, and the cells of each row."""
    metric = str(block["metric"].iloc[0])
    ends = "95 % bootstrap" if BOOTSTRAP[0] in block else "95 % interval"
    words = ["method", "seeds", metric, "std", "vs plain", ends, "gap closed", "time", "left out", "verdict"]
    table = [_cells(row) for row in rows(block)]
    kept = [i for i, word in enumerate(words) if word not in OPTIONAL or any(cells[i] for cells in table)]
    return [words[i] for i in kept], [[cells[i] for i in kept] for cells in table]


def _cells(row: dict[str, Any]) -> list[str]:
    share = percent(row["gap_closed"])
    return [
        *measured(row),
        f"{share} %" if share else "",
        times(row["time_ratio"]),
        left_out(row),
        row["verdict"],
    ]


def times(ratio: float) -> str:
    """A ratio of times; blank when NaN."""
    return "" if math.isnan(ratio) else f"{ratio:.2f}x"


def left_out(row: dict[str, Any]) -> str:
    """The cells that are in no mean: ``2 failed, 1 smoke``."""
    return ", ".join(f"{row[kind]} {kind}" for kind in LEFT_OUT if row[kind])


def measured(row: dict[str, Any]) -> list[str]:
    """Method, seeds, mean, standard deviation, difference to the plain student and its interval, for humans."""
    return [
        row["method"],
        seeds(row),
        percent(row["mean"]),
        spread(row),
        percent(row["difference"], "+"),
        interval(row),
    ]


def seeds(row: Mapping[str, Any]) -> str:
    """How many seeds are done, and how many of them others report: ``3 (1 by others)``; blank for none."""
    others = f" ({row['reported']} by others)" if row["reported"] else ""
    return f"{row['seeds']}{others}" if row["seeds"] else ""


def interval(row: dict[str, Any]) -> str:
    """The 95 % interval, and how many seeds it is from where that is not all of the row's.

    It is the bootstrap one where there is one.
    """
    if not row["shared_seeds"]:
        return ""
    low, high = (row[name] for name in (BOOTSTRAP if BOOTSTRAP[0] in row else ("low", "high")))
    ends = f"[{percent(low, '+')}, {percent(high, '+')}]" if row["shared_seeds"] > 1 else ""
    few = f"({row['shared_seeds']} shared)" if row["shared_seeds"] != row["seeds"] else ""
    return f"{ends} {few}".strip()


def spread(row: dict[str, Any]) -> str:
    """The standard deviation, or that there is one seed only."""
    return _spread(row["method"], row["seeds"], row["std"])


def _spread(method: str, seeds: int, std: float) -> str:
    return "one seed" if seeds == 1 and method != TEACHER_ROW else percent(std)


def percent(value: float, sign: str = "") -> str:
    """A fraction x100 with one decimal (and its sign); blank when NaN; never "-0.0"."""
    return "" if math.isnan(value) else f"{round(100 * value, 1) + 0.0:{sign}.1f}"


def _csv_column(name: str, frame: pd.DataFrame) -> list[str]:
    values = frame[name].tolist()
    if name == "std":
        return [*map(_spread, frame["method"].tolist(), frame["seeds"].tolist(), values)]
    if name in _PERCENT or name.startswith(METRIC):
        return [*map(percent, values)]
    digits = ".0f" if name in _WHOLE else ".2g" if name in _PROBABILITY else ".3f"
    return [_csv_number(value, digits) if isinstance(value, float) else str(value) for value in values]


def _csv_number(value: float, digits: str) -> str:
    return "" if math.isnan(value) else f"{value:{digits}}"


def line(cells: list[str]) -> str:
    """A row of a markdown table."""
    return "| " + " | ".join(cells) + " |"
