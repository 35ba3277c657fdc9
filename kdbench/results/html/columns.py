"""The table of a ranking: which columns of the frame it shows, and how a cell reads and sorts."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from kdbench.plugins import NAME
from kdbench.results.board import Ranking
from kdbench.results.formats import (
    control_interval,
    gain,
    left_out,
    percent,
    seeds,
    spread,
    times,
    tuned,
    verdict,
)
from kdbench.results.leaderboard import secondary_columns
from kdbench.results.naming import method_in
from kdbench.results.row import COLUMNS, GROUP, METRIC, SHARES, TEACHER_ROW
from kdbench.results.row import Row as Values

VERDICTS = ("better", "no evidence", "cannot tell", "one seed", "worse", "no plain student", "no result")
SIGNED = ("relative_gain", "paper_difference")
"""Further columns that are differences, as fractions."""
HELP = {
    "p": "p value, adjusted over the rows: below 0.05 where the interval excludes 0",
    "scatter": "Deviation of the row's residuals over that of the other rows",
    "relative_gain": "The difference over the plain student's score, in %",
    "best": "Mean at the best evaluation: it flatters and never ranks",
    "paper_difference": "The paper's own difference, in points, in its own setting",
    "seconds_per_iteration": "Mean over the seeds, whatever else ran then: compare by time, not by this",
    "time_low": "The least ratio of times over the seeds",
    "time_high": "The largest ratio of times over the seeds",
    "peak_memory_mib": "Peak memory, MiB",
    "added_parameters": "Trained beside the student and not exported",
    "gradient_share_start": "Part of the gradient on backbone and neck that is the method's, x100, at the start",
    "gradient_share_quarter": "The same after a quarter of the training, x100",
    "gradient_share_half": "The same half-way, x100",
    "student_flops": "Multiply-adds of the student for one image",
    "student_bits": "Bits in which the parameters of a compressed student are stored",
}
GROUPED = 1000
"""Numbers from which on their digits stand in groups, without a fraction."""
_SHOWN = {
    *GROUP,
    *("method", "seeds", "mean", "std", "shared_seeds", "difference", "low", "high", "gap_closed"),
    *("control", "control_difference", "control_low", "control_high", "control_verdict"),
    *("time_ratio", "failed", "skipped", "smoke", "missing", "reported", "trials", "verdict", "command"),
}


class PageCell(NamedTuple):
    """What a cell says and the key that it sorts by: a number, or text; empty sorts last."""

    text: str
    key: str


@dataclass(frozen=True)
class PageColumn:
    """A column.

    Attributes:
        title: Its heading.
        help: What it means.
        cell: From a row of the frame.
        number: Whether it sorts by numbers.
        extra: Whether it is shown only with all columns.
    """

    title: str
    help: str
    cell: Callable[[Any], PageCell]
    number: bool = True
    extra: bool = False


@dataclass(frozen=True)
class PageRow:
    """A row.

    Attributes:
        place: Its place in the table as it comes, from 1; 0 for a reference.
        method: Its label.
        card: Id of its method's card.
        kind: What the table's list of choices tells it by, such as its verdict.
        words: What a filter by words looks at.
        cells: Its cells.
    """

    place: int
    method: str
    card: str
    kind: str
    words: str
    cells: list[PageCell]


@dataclass(frozen=True)
class PageTable:
    """A table: the references stay on top, the other rows sort.

    Attributes:
        columns: Its columns, after the place and the method.
        references: The teacher and the plain student of a ranking.
        rows: The other rows.
        kind: What the kinds of its rows are called.
    """

    columns: list[PageColumn]
    references: list[PageRow]
    rows: list[PageRow]
    kind: str = "Verdict"

    @property
    def kinds(self) -> list[str]:
        """The kinds of rows that occur."""
        return list(dict.fromkeys(row.kind for row in self.rows))


def table(ranking: Ranking) -> PageTable:
    """Return the table of a ranking, its rows in rank order."""
    columns = [*_main(ranking), *_further(ranking)]
    references = [row for row in ranking.rows if row.is_reference]
    return PageTable(
        columns,
        [_row(0, row, columns) for row in references],
        [_row(place, row, columns) for place, row in enumerate(ranking.methods, 1)],
    )


def _row(place: int, row: Values, columns: list[PageColumn]) -> PageRow:
    cells = [column.cell(row) for column in columns]
    label = row["method"]
    return PageRow(place, label, anchor(label), row["verdict"], label, cells)


def _main(ranking: Ranking) -> list[PageColumn]:
    metric = ranking.metric
    rows = ranking.rows
    found = [
        PageColumn(metric, f"Mean {metric} x100 over the seeds, last iteration", _score),
        PageColumn(
            "vs plain",
            "Paired difference to the plain student, with its simultaneous 95 % interval",
            _difference,
        ),
        PageColumn("verdict", "What the interval allows to say", _verdict, number=False),
        PageColumn("gap closed", "Share of the way from the plain student to the teacher", _gap),
    ]
    if any(_filled(row["time_ratio"]) for row in rows):
        told = "Time of an iteration, the plain student's is 1; blank if not timed in turns"
        found.append(PageColumn("time", told, _time))
    if ranking.controls:
        told = "Difference to a plain student that trained at least as long as the method (its control)"
        found.append(PageColumn("at equal time", told, _at_equal_time))
    if any(row["trials"] for row in rows):
        told = "Over how many trials on validation images the options were chosen"
        found.append(PageColumn("tuned", told, _tuned))
    found.append(PageColumn("seeds", "Seeds that are done, and how many of them others report", _seeds))
    if any(left_out(row) for row in rows):
        told = "Cells that failed, were skipped or are missing, in no mean"
        found.append(PageColumn("left out", told, _left_out, number=False))
    return [*found, PageColumn("again", "The command that makes the row again", _command, number=False)]


def _score(row: Values) -> PageCell:
    deviation = spread(row)
    around = f" ± {deviation}" if deviation and row["seeds"] > 1 else ""
    return PageCell(percent(row["mean"]) + around, _key(row["mean"]))


def _difference(row: Values) -> PageCell:
    return PageCell(gain(row), _key(row["difference"]))


def _at_equal_time(row: Values) -> PageCell:
    gain = f"{percent(row['control_difference'], '+')} {control_interval(row)}".strip()
    told = f"{gain} {row['control_verdict']} (against {row['control']})" if row["control"] else ""
    return PageCell(told, _key(row["control_difference"]))


def _tuned(row: Values) -> PageCell:
    return PageCell(tuned(row), str(row["trials"]) if row["trials"] else "")


def _verdict(row: Values) -> PageCell:
    known = row["verdict"] in VERDICTS
    return PageCell(verdict(row), str(VERDICTS.index(row["verdict"])) if known else "")


def _gap(row: Values) -> PageCell:
    share = percent(row["gap_closed"])
    return PageCell(f"{share} %" if share else "", _key(row["gap_closed"]))


def _time(row: Values) -> PageCell:
    return PageCell(times(row["time_ratio"]), _key(row["time_ratio"]))


def _seeds(row: Values) -> PageCell:
    single = row["seeds"] == 1 and row["method"] != TEACHER_ROW and not row["reported"]
    return PageCell("one seed" if single else seeds(row) or "0", _key(row["seeds"]))


def _left_out(row: Values) -> PageCell:
    text = left_out(row)
    return PageCell(text, text)


def _command(row: Values) -> PageCell:
    return PageCell(row["command"], row["command"])


def _further(ranking: Ranking) -> list[PageColumn]:
    """Return the columns that the main ones do not show and that hold something."""
    found = []
    for name in (*COLUMNS, *secondary_columns(ranking.rows)):
        if name not in _SHOWN and any(_filled(row.get(name, "")) for row in ranking.rows):
            title, number = name.removeprefix(METRIC).replace("_", " "), COLUMNS.get(name) != "str"
            found.append(PageColumn(title, HELP.get(name, title), _reader(name), number, extra=True))
    return found


def _filled(value: Any) -> bool:
    return bool(value != "" and value == value)


def _reader(name: str) -> Callable[[Values], PageCell]:
    sign = "+" if name in SIGNED else ""
    fraction = sign or name in ("best", *SHARES) or name.startswith(METRIC)

    def read(row: Values) -> PageCell:
        value = row.get(name, "")
        if not _filled(value):
            return PageCell("", "")
        if isinstance(value, str):
            return PageCell(value, value)
        whole = float(value).is_integer() and not fraction
        text = (
            f"{value:,.0f}"
            if whole or value >= GROUPED
            else percent(value, sign)
            if fraction
            else f"{value:.3g}"
        )
        return PageCell(text, _key(value))

    return read


def _key(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.9g}"


def anchor(label: str) -> str:
    """Return the id of the card of a row's method: ``method-mimic`` for ``mimic[weight=2]``.

    A name that no plugin could have gets a hash in its place: an id then holds nothing but letters and digits.
    """
    name = method_in(label)
    safe = name if NAME.fullmatch(name) else hashlib.sha256(name.encode(errors="replace")).hexdigest()[:12]
    return f"method-{safe}"
