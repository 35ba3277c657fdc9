"""Rankings as tables for people: their columns, numbers, legends and notes."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from kdbench.results.board import Ranking
from kdbench.results.leaderboard import secondary_columns
from kdbench.results.row import COLUMNS, TEACHER_ROW
from kdbench.results.statistics import mean
from kdbench.results.table import Table
from kdbench.specs import PLAIN

Values = Mapping[str, Any]
"""A row of a ranking."""
MARK = "†"
"""Marks an interval from the row's own paired differences."""
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
TUNED_LEGEND = (
    "Tuned: `kdbench tune` chose the options, as the best of that many trials on validation images that no ranking "
    "uses; each record has the trials."
)
EQUAL_TIME_LEGEND = (
    "At equal training time, a method is compared with a control: a plain student that trained longer, "
    "none[time=1.5] for 1.5 times as long. It is the shortest control that trained at least as long as the method, "
    "going by the time of its iterations; the teacher's own training is not counted. Differences are paired by "
    "seed, and all intervals against one control hold at once with 95 %. Controls are not ranked, and the verdicts "
    "against the plain student do not depend on them."
)
LEFT_OUT = ("failed", "skipped", "smoke", "missing")
OPTIONAL = ("time", "at equal time", "tuned", "left out")
"""Columns that are shown only if one of the rows has something in them."""


def legend(found: Iterable[Ranking]) -> str:
    """Return the legend of leaderboards, with what occurs in them."""
    rankings = list(found)
    chosen = any(row["trials"] for ranking in rankings for row in ranking.rows)
    others = any(row["reported"] for ranking in rankings for row in ranking.rows)
    controls = any(ranking.controls for ranking in rankings)
    return " ".join(
        [LEGEND, *[REPORTED_LEGEND] * others, *[TUNED_LEGEND] * chosen, *[EQUAL_TIME_LEGEND] * controls]
    )


def tables(found: Iterable[Ranking]) -> list[Table]:
    """Return the table of each ranking, followed by that at equal training time if it has one."""
    return [table for ranking in found for table in (_table(ranking), *_at_equal_time(ranking))]


def _table(ranking: Ranking) -> Table:
    titles = ["method", "seeds", ranking.metric, "std", "vs plain", "95 % interval", "gap closed"]
    titles += ["time", "tuned", "left out", "verdict"]
    cells = [_cells(row) for row in ranking.rows]
    kept = [i for i, title in enumerate(titles) if title not in OPTIONAL or any(row[i] for row in cells)]
    shown = [[row[i] for i in kept] for row in cells]
    align = f"l{'r' * (len(kept) - 2)}l"
    return Table([titles[i] for i in kept], shown, align, ranking.heading, " ".join(notes(ranking)))


def _at_equal_time(ranking: Ranking) -> list[Table]:
    """Return the table against plain students that trained as long; none without such a control."""
    rows = [row for row in ranking.rows if row["control"]]
    if not rows:
        return []
    titles = ["method", "time", "control", f"its {ranking.metric}", "vs control", "95 % interval", "verdict"]
    rows.sort(key=lambda row: (math.isnan(row["control_difference"]), -row["control_difference"]))
    shown = [_beside_control(row, ranking.level(row["control"])) for row in rows]
    untold = [row["method"] for row in ranking.methods if row["seeds"] and not row["control"]]
    note = f"Not timed, or slower than every control: {', '.join(untold)}." if untold else ""
    return [Table(titles, shown, "lrlrrrl", f"At equal training time: {ranking.heading}", note)]


def _beside_control(row: Values, level: float) -> list[str]:
    ends, gain = control_interval(row), percent(row["control_difference"], "+")
    time = times(row["time_ratio"])
    return [row["method"], time, row["control"], percent(level), gain, ends, row["control_verdict"]]


def control_interval(row: Values) -> str:
    """Return the 95 % interval of a row's difference to its control; blank without one."""
    return _ends(row["control_low"], row["control_high"])


def notes(ranking: Ranking) -> list[str]:
    """Return sentences on the basis of a ranking's intervals, and on doubts about it."""
    return [
        *_noise(ranking),
        *_doubts(ranking),
        *_at_fewer_seeds(ranking),
        *_trained_on(ranking),
    ]


def _noise(ranking: Ranking) -> Iterator[str]:
    model = ranking.model
    if model.methods and model.pooled.freedom:
        noise, freedom = model.pooled.deviation, model.pooled.freedom
        yield f"Noise: {100 * noise:.2g} {ranking.metric} points, pooled over {freedom} degrees of freedom."
    ratios = {row["method"]: row["scatter"] for row in ranking.methods if row["scatter"] > 0}
    if ratios:
        most = max(ratios, key=lambda label: ratios[label])
        yield f"{most} scatters most, {ratios[most]:.3g} times as much as the other rows."
    if model.methods and PLAIN in model.unequal:
        yield "The plain student scatters more than the methods, so every interval is from its own row."


def _doubts(ranking: Ranking) -> Iterator[str]:
    for reason in dict.fromkeys(row["reason"] for row in ranking.methods if row["reason"]):
        yield f"Cannot tell: {reason}."
    plain, teacher = ranking.level(PLAIN), ranking.level(TEACHER_ROW)
    if ranking.sign * (teacher - plain) <= 0:
        where = "above" if ranking.sign > 0 else "below"
        yield f"The teacher ({percent(teacher)}) is not {where} the plain student ({percent(plain)})."
    lost = [row for row in ranking.methods if row["trials"] and row["difference"] <= 0]
    if lost:
        shown = ", ".join(f"{row['method']} ({gain(row)})" for row in lost)
        yield f"Tuned, and still no better than the plain student: {shown}."


def _at_fewer_seeds(ranking: Ranking) -> list[str]:
    """Return the plain student's mean over the seeds of rows that lack some of its seeds."""
    row = ranking.row(PLAIN)
    plain = {} if row is None else row.scores()
    shared = {tuple(sorted(plain.keys() & row.scores().keys())) for row in ranking.methods}
    return [
        f"The plain student's mean over seeds {', '.join(map(str, seeds))} alone is "
        f"{percent(mean(plain[seed] for seed in seeds))}."
        for seeds in sorted(shared)
        if 0 < len(seeds) < len(plain)
    ]


def _trained_on(ranking: Ranking) -> Iterator[str]:
    """Yield a sentence on the machines of the students, and one on comparisons between machines."""
    students = [row for row in ranking.rows if row["method"] != TEACHER_ROW]
    runs = Counter(cell.machine for row in students for cell in row.done.values())
    if len(runs) == 1:
        yield f"Trained on {next(iter(runs))}."
    elif runs:
        counts = (f"{count} run{'s' * (count > 1)} on {machine}" for machine, count in runs.most_common())
        yield f"Trained on {len(runs)} kinds of machine: {'; '.join(counts)}."
    mixed = [row["method"] for row in ranking.methods if row["machines"]]
    if mixed:
        yield f"Compared with plain students from another kind of machine: {', '.join(mixed)}."


def ties(ranking: Ranking, method: str) -> str:
    """Say from how many other methods the seeds do not tell a method apart; blank if from none."""
    others = [row["method"] for row in ranking.methods if row["method"] != method]
    found = [ranking.pair(method, other) for other in others]
    same = sum(one is None or one.verdict != "better" for one in found)
    if not same:
        return ""
    if len(others) == 1:
        return "The seeds do not tell it from the other."
    which = "any" if same == len(others) else str(same)
    return f"The seeds do not tell it from {which} of the {len(others)} others."


def verdict(row: Values) -> str:
    """Return the verdict, with the row that this one repeats."""
    return f"{row['verdict']} (same as {row['same_as']})" if row["same_as"] else str(row["verdict"])


def _cells(row: Values) -> list[str]:
    share = f"{percent(row['gap_closed'])} %".removeprefix(" %")
    return [*score_cells(row), share, times(row["time_ratio"]), tuned(row), left_out(row), verdict(row)]


def score_cells(row: Values) -> list[str]:
    """Return method, seeds, mean, standard deviation, difference and its interval."""
    gain = percent(row["difference"], "+")
    return [row["method"], seeds(row), percent(row["mean"]), spread(row), gain, interval(row)]


def to_csv(found: Iterable[Ranking], more: Sequence[str] = ()) -> str:
    """Return rankings as CSV, with fractions in all digits.

    Args:
        found: The rankings.
        more: Further columns of text, instead of the secondary metrics.
    """
    rows = [row for ranking in found for row in ranking.rows]
    return csv_table([*COLUMNS, *(more or secondary_columns(rows))], rows).csv()


def csv_table(columns: Sequence[str], rows: Iterable[Values]) -> Table:
    """Return columns of rows as a table for CSV."""
    cells = [[_csv_cell(name, row) for name in columns] for row in rows]
    return Table(columns, cells, "l" * len(columns))


def _csv_cell(name: str, row: Values) -> str:
    value = row.get(name, math.nan)
    return "" if value != value else str(value)


def times(ratio: float) -> str:
    """Return a ratio of times; blank if NaN."""
    return "" if math.isnan(ratio) else f"{ratio:.2f}x"


def tuned(row: Values) -> str:
    """Return the number of trials that chose the options; blank without any."""
    return f"{row['trials']} trials" if row["trials"] else ""


def left_out(row: Values) -> str:
    """Return the numbers of cells that are in no mean: ``2 failed, 1 smoke``."""
    return ", ".join(f"{row[kind]} {kind}" for kind in LEFT_OUT if row[kind])


def seeds(row: Values) -> str:
    """Return the number of seeds, and how many of them others report: ``3 (1 by others)``; blank for none."""
    others = f" ({row['reported']} by others)" if row["reported"] else ""
    return f"{row['seeds']}{others}" if row["seeds"] else ""


def gain(row: Values) -> str:
    """Return a row's difference to the plain student with its interval, in points."""
    return f"{percent(row['difference'], '+')} {interval(row)}".strip()


def interval(row: Values) -> str:
    """Return the 95 % interval, with its number of seeds if that is not the row's."""
    if not row["shared_seeds"]:
        return ""
    ends = _ends(row["low"], row["high"])
    few = f"({row['shared_seeds']} shared)" if row["shared_seeds"] != row["seeds"] else ""
    return f"{ends}{MARK if row['interval'] == 'own' else ''} {few}".strip()


def _ends(low: float, high: float) -> str:
    """Return both ends x100, with the sign of an end that rounds to 0: it says whether the interval has 0."""
    return "" if math.isnan(low) else f"[{100 * low + 0.0:+.1f}, {100 * high + 0.0:+.1f}]"


def spread(row: Values) -> str:
    """Return the standard deviation, or ``one seed``."""
    single = row["seeds"] == 1 and row["method"] != TEACHER_ROW
    return "one seed" if single else percent(row["std"])


def percent(value: float, sign: str = "") -> str:
    """Return a fraction x100 with one decimal (and a sign); blank if NaN; never "-0.0"."""
    return "" if math.isnan(value) else f"{round(100 * value, 1) + 0.0:{sign}.1f}"


def folded(selector: str, width: int) -> str:
    """Return a selector broken into lines of at most a width, if its parts are not longer."""
    lines = [""]
    for part in pieces(selector):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def pieces(selector: str) -> list[str]:
    """Return the parts between which a selector can be broken: after its brackets and signs."""
    return re.split(r"(?<=[\[=,+-])", selector)
