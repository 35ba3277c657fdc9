"""The tables of the page: what a row's cells say, and what they sort by."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from matplotlib.colors import LinearSegmentedColormap

from kdbench.plugins import NAME
from kdbench.results.board import Ranking
from kdbench.results.formats import (
    OPTIONAL,
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
from kdbench.results.plots.picture import MOST
from kdbench.results.reported_table import REPORTED_COLUMNS, Entry, entries
from kdbench.results.row import COLUMNS, GROUP, METRIC, SHARES, TEACHER_ROW, Row
from kdbench.results.statistics import mean
from kdbench.results.table import Column
from kdbench.specs import PLAIN

T = TypeVar("T")
WORST, MIDDLE, BEST = "#d6604d", "#f7f7f7", "#4393c3"
"""Colours of differences by class."""
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


@dataclass(frozen=True)
class PageRow(Generic[T]):
    """A row of a table in the page.

    Attributes:
        place: Its place in the table, from 1; 0 for a reference.
        label: The label of its method.
        method: The name of its method.
        kind: The kind that the table can be restricted to, such as its verdict.
        words: The text that a filter looks at.
        source: What the columns read.
    """

    place: int
    label: str
    method: str
    kind: str
    words: str
    source: T


@dataclass(frozen=True)
class PageTable(Generic[T]):
    """A table in the page: the references stay on top, the other rows can be sorted.

    Attributes:
        columns: Its columns, after the place and the method.
        references: The teacher and the plain student of a ranking.
        rows: The other rows.
        kind: What a row's kind is, such as its verdict.
    """

    columns: Sequence[Column[T]]
    references: Sequence[PageRow[T]]
    rows: Sequence[PageRow[T]]
    kind: str = "Verdict"

    @property
    def kinds(self) -> list[str]:
        """The kinds of rows that occur."""
        return list(dict.fromkeys(row.kind for row in self.rows))


def ranking_table(ranking: Ranking) -> PageTable[Row]:
    """Return the table of a ranking, its rows in rank order."""
    references = [_row(0, row) for row in ranking.rows if row.is_reference]
    rows = [_row(place, row) for place, row in enumerate(ranking.methods, 1)]
    return PageTable([*_main(ranking), *_further(ranking)], references, rows)


def _row(place: int, row: Row) -> PageRow[Row]:
    label = row["method"]
    return PageRow(place, label, method_in(label), row["verdict"], label, row)


def published_table() -> PageTable[Entry]:
    """Return the table of the numbers that the papers of the installed methods report."""
    columns = [column for column in REPORTED_COLUMNS if column.title != "method"]
    rows = [
        PageRow(
            place,
            entry.label,
            entry.method,
            entry.result.row["dataset"],
            " ".join([entry.label, *(column.text(entry) for column in columns)]),
            entry,
        )
        for place, entry in enumerate(entries(), 1)
    ]
    return PageTable(columns, [], rows, kind="Dataset")


def _main(ranking: Ranking) -> list[Column[Row]]:
    """Return the columns that are always in view, without optional ones that are blank."""
    score = Column(
        ranking.metric, f"Mean {ranking.metric} x100 over the seeds, last iteration", _score, _value("mean")
    )
    columns = [score, *MAIN]
    return [one for one in columns if one.title not in OPTIONAL or any(map(one.text, ranking.rows))]


def _value(name: str) -> Callable[[Row], Any]:
    return lambda row: row.get(name)


def _score(row: Row) -> str:
    deviation = spread(row)
    around = f" ± {deviation}" if deviation and row["seeds"] > 1 else ""
    return percent(row["mean"]) + around


def _at_equal_time(row: Row) -> str:
    difference = f"{percent(row['control_difference'], '+')} {control_interval(row)}".strip()
    return f"{difference} {row['control_verdict']} (against {row['control']})" if row["control"] else ""


def _verdict_order(row: Row) -> int | None:
    return VERDICTS.index(row["verdict"]) if row["verdict"] in VERDICTS else None


def _gap(row: Row) -> str:
    share = percent(row["gap_closed"])
    return f"{share} %" if share else ""


def _seeds(row: Row) -> str:
    single = row["seeds"] == 1 and row["method"] != TEACHER_ROW and not row["reported"]
    return "one seed" if single else seeds(row) or "0"


def _further(ranking: Ranking) -> list[Column[Row]]:
    """Return the columns that the main ones do not show and that are not blank."""
    found = []
    for name in (*COLUMNS, *secondary_columns(ranking.rows)):
        if name not in _SHOWN and any(_filled(row.get(name, "")) for row in ranking.rows):
            title, number = name.removeprefix(METRIC).replace("_", " "), COLUMNS.get(name) != "str"
            value = _value(name) if number else None
            found.append(Column(title, HELP.get(name, title), _text(name), value, number, extra=True))
    return found


def _filled(value: Any) -> bool:
    return bool(value != "" and value == value)


def _text(name: str) -> Callable[[Row], str]:
    """Return how a further column's cells read: text, a fraction in points, a count or another number."""
    sign = "+" if name in SIGNED else ""
    fraction = sign or name in ("best", *SHARES) or name.startswith(METRIC)

    def text(row: Row) -> str:
        value = row.get(name, "")
        if isinstance(value, str) or not _filled(value):
            return value if isinstance(value, str) else ""
        if value >= GROUPED or (float(value).is_integer() and not fraction):
            return f"{value:,.0f}"
        return percent(value, sign) if fraction else f"{value:.3g}"

    return text


MAIN: Sequence[Column[Row]] = (
    Column(
        "vs plain",
        "Paired difference to the plain student, with its simultaneous 95 % interval",
        gain,
        _value("difference"),
    ),
    Column("verdict", "The conclusion that the interval allows", verdict, _verdict_order, number=False),
    Column(
        "gap closed", "Share of the way from the plain student to the teacher", _gap, _value("gap_closed")
    ),
    Column(
        "time",
        "Time of an iteration, the plain student's is 1; blank if not timed in turns",
        lambda row: times(row["time_ratio"]),
        _value("time_ratio"),
    ),
    Column(
        "at equal time",
        "Difference to a plain student that trained at least as long as the method (its control)",
        _at_equal_time,
        _value("control_difference"),
    ),
    Column(
        "tuned",
        "Number of trials on validation images that chose the options",
        tuned,
        lambda row: row["trials"] or None,
    ),
    Column("seeds", "Seeds that are done, and how many of them others report", _seeds, _value("seeds")),
    Column("left out", "Cells that failed, were skipped or are missing, in no mean", left_out, number=False),
    Column("again", "The command that makes the row again", lambda row: str(row["command"]), number=False),
)
"""Columns of a ranking after its score."""


def anchor(method: str) -> str:
    """Return the id of a method's card, such as ``method-mimic``.

    A name that no plugin could have is replaced by a hash, so that an id has only letters, digits and dashes.
    """
    safe = (
        method if NAME.fullmatch(method) else hashlib.sha256(method.encode(errors="replace")).hexdigest()[:12]
    )
    return f"method-{safe}"


@dataclass(frozen=True)
class PerClass:
    """Mean paired differences, as fractions.

    Attributes:
        metric: The metric of a class, such as AP50 or IoU.
        classes: Names, in alphabetical order.
        differences: Label of a row -> a difference for each class; NaN where no seed has both.
    """

    metric: str
    classes: tuple[str, ...]
    differences: dict[str, tuple[float, ...]]

    @property
    def largest(self) -> float:
        """The largest absolute difference, above 0."""
        return max([*(abs(v) for values in self.differences.values() for v in values if v == v), 1e-3])

    def colour(self, value: float) -> str:
        """Return the colour of a difference, red below zero and blue above; blank for NaN."""
        if value != value:
            return ""
        scale = LinearSegmentedColormap.from_list("differences", [WORST, MIDDLE, BEST])
        red, green, blue, _ = scale(0.5 + 0.5 * value / self.largest)
        return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"


def per_class(ranking: Ranking) -> PerClass | None:
    """Return the differences by class of a ranking's first rows; None if no record has values by class."""
    plain = ranking.row(PLAIN)
    last = [cell.metrics.last for cell in plain.done.values() if cell.metrics] if plain else []
    keys = sorted({key for values in last for key in values if "/" in key})
    kinds = {key.partition("/")[0] for key in keys}
    if not kinds or not ranking.methods:
        return None
    kind = ranking.metric if ranking.metric in kinds else min(kinds)
    keys = [key for key in keys if key.startswith(f"{kind}/")]
    found = {
        row["method"]: tuple(mean(ranking.differences(row["method"], key)) for key in keys)
        for row in ranking.methods[:MOST]
    }
    return PerClass(kind, tuple(key.partition("/")[2] for key in keys), found)
