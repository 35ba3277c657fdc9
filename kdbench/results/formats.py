"""How rankings read: the columns that people see, the numbers in them, and what they mean."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kdbench.results.board import Ranking
from kdbench.results.leaderboard import secondary_columns
from kdbench.results.row import COLUMNS, TEACHER_ROW
from kdbench.results.table import Table
from kdbench.specs import PLAIN

Values = Mapping[str, Any]
"""A row of a ranking."""
MARK = "†"
"""Marks an interval that is from the row's own paired differences."""
LEGEND = (
    "Scores are x100, on the test split after the last iteration; none is the plain student. The difference is "
    "to it, paired by seed. Its interval is Dunnett's, from the pooled noise of all rows of a ranking: all its "
    "intervals hold at once with 95 %, and a row is better or worse just where its interval excludes zero. A "
    f"row marked {MARK} scatters more than the others (F test at .01) and has an interval from its own paired "
    "differences; with three seeds the test misses many: one row with five times the noise of the others raises"
    " the chance of any false verdict in a ranking from 5 % to about 10 % (simulated). Gap closed is the share "
    "of the way from the plain student to the teacher. Time is that of an iteration relative to the plain "
    "student, only from seeds in which both were trained in turns in one process (lanes of a pack); elsewhere "
    "it is blank, since times of separate runs tell what else ran on the machine. Left out are failed, timed-"
    "out, skipped, smoke and missing cells: counted, and never averaged."
)
REPORTED_LEGEND = (
    "By others: seeds whose records others report. They are checked for what contradicts itself or is implausible "
    "(`kdbench records add`), and were not run here."
)
LEFT_OUT = ("failed", "skipped", "smoke", "missing")
OPTIONAL = ("time", "left out")
"""Columns that a ranking shows to people only where one of its rows has something in them."""


def legend(found: Iterable[Ranking]) -> str:
    """Return what the columns of leaderboards mean."""
    others = any(row["reported"] for ranking in found for row in ranking.rows)
    return f"{LEGEND} {REPORTED_LEGEND}" if others else LEGEND


def tables(found: Iterable[Ranking]) -> list[Table]:
    """Return a table a ranking, for people."""
    return [_table(ranking) for ranking in found]


def _table(ranking: Ranking) -> Table:
    titles = ["method", "seeds", ranking.metric, "std", "vs plain", "95 % interval", "gap closed"]
    titles += ["time", "left out", "verdict"]
    cells = [_cells(row) for row in ranking.rows]
    kept = [i for i, title in enumerate(titles) if title not in OPTIONAL or any(row[i] for row in cells)]
    shown = [[row[i] for i in kept] for row in cells]
    align = f"l{'r' * (len(kept) - 2)}l"
    return Table([titles[i] for i in kept], shown, align, ranking.heading, " ".join(notes(ranking)))


def notes(ranking: Ranking) -> list[str]:
    """Return sentences on what a ranking's intervals are from, and on what makes it doubtful."""
    model, metric = ranking.model, ranking.metric
    found = []
    if model.methods and model.pooled.freedom:
        noise, freedom = model.pooled.deviation, model.pooled.freedom
        found.append(f"Noise: {100 * noise:.2g} {metric} points, pooled over {freedom} degrees of freedom.")
    ratios = {row["method"]: row["scatter"] for row in ranking.methods if row["scatter"] > 0}
    if ratios:
        most = max(ratios, key=lambda label: ratios[label])
        found.append(f"{most} scatters most, {ratios[most]:.3g} times as much as the other rows.")
    if model.methods and PLAIN in model.unequal:
        found.append(
            "The plain student scatters more than the methods, so every interval is from its own row."
        )
    reasons = dict.fromkeys(row["reason"] for row in ranking.methods if row["reason"])
    found += [f"Cannot tell: {reason}." for reason in reasons]
    plain, teacher = ranking.level(PLAIN), ranking.level(TEACHER_ROW)
    if ranking.sign * (teacher - plain) <= 0:
        where = "above" if ranking.sign > 0 else "below"
        found.append(f"The teacher ({percent(teacher)}) is not {where} the plain student ({percent(plain)}).")
    mixed = [row["method"] for row in ranking.methods if row["machines"]]
    if mixed:
        found.append(f"Compared with plain students from another kind of machine: {', '.join(mixed)}.")
    return found


def verdict(row: Values) -> str:
    """Return the verdict, and which row counts in the place of this one."""
    return f"{row['verdict']} (same as {row['same_as']})" if row["same_as"] else str(row["verdict"])


def _cells(row: Values) -> list[str]:
    share = f"{percent(row['gap_closed'])} %".removeprefix(" %")
    return [*measured(row), share, times(row["time_ratio"]), left_out(row), verdict(row)]


def measured(row: Values) -> list[str]:
    """Return method, seeds, mean, standard deviation, difference and its interval."""
    gain = percent(row["difference"], "+")
    return [row["method"], seeds(row), percent(row["mean"]), spread(row), gain, interval(row)]


def to_csv(found: Iterable[Ranking], more: Sequence[str] = ()) -> str:
    """Return rankings as CSV for machines: fractions with all their digits, blanks empty.

    Args:
        found: The rankings.
        more: Further columns of text, in the place of those of the secondary metrics.
    """
    rows = [row for ranking in found for row in ranking.rows]
    return csv_table([*COLUMNS, *(more or secondary_columns(rows))], rows).csv()


def csv_table(columns: Sequence[str], rows: Iterable[Values]) -> Table:
    """Return columns of rows as a table for machines."""
    cells = [[_csv_cell(name, row) for name in columns] for row in rows]
    return Table(columns, cells, "l" * len(columns))


def _csv_cell(name: str, row: Values) -> str:
    value = row.get(name, math.nan)
    return "" if value != value else str(value)


def times(ratio: float) -> str:
    """Return a ratio of times; blank when NaN."""
    return "" if math.isnan(ratio) else f"{ratio:.2f}x"


def left_out(row: Values) -> str:
    """Return the cells that are in no mean: ``2 failed, 1 smoke``."""
    return ", ".join(f"{row[kind]} {kind}" for kind in LEFT_OUT if row[kind])


def seeds(row: Values) -> str:
    """Return how many seeds are done, and how many of them others report: ``3 (1 by others)``; blank for none."""
    others = f" ({row['reported']} by others)" if row["reported"] else ""
    return f"{row['seeds']}{others}" if row["seeds"] else ""


def gain(row: Values) -> str:
    """Return a row's difference to the plain student with its interval, in points."""
    return f"{percent(row['difference'], '+')} {interval(row)}".strip()


def interval(row: Values) -> str:
    """Return the 95 % interval, and how many seeds it is from where that is not all of the row's."""
    if not row["shared_seeds"]:
        return ""
    low, high = row["low"], row["high"]
    ends = f"[{percent(low, '+')}, {percent(high, '+')}]" if row["shared_seeds"] > 1 else ""
    few = f"({row['shared_seeds']} shared)" if row["shared_seeds"] != row["seeds"] else ""
    return f"{ends}{MARK if row['interval'] == 'own' else ''} {few}".strip()


def spread(row: Values) -> str:
    """Return the standard deviation, or that there is one seed only."""
    single = row["seeds"] == 1 and row["method"] != TEACHER_ROW
    return "one seed" if single else percent(row["std"])


def percent(value: float, sign: str = "") -> str:
    """Return a fraction x100 with one decimal (and its sign); blank when NaN; never "-0.0"."""
    return "" if math.isnan(value) else f"{round(100 * value, 1) + 0.0:{sign}.1f}"


def folded(selector: str, width: int) -> str:
    """Return a selector in lines that end after its marks, as far as its parts fit into so many characters."""
    lines = [""]
    for part in pieces(selector):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def pieces(selector: str) -> list[str]:
    """Return the pieces between which a selector is best broken: after its brackets and signs."""
    return re.split(r"(?<=[\[=,+-])", selector)
