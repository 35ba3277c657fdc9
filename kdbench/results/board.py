"""One ranking: a pair under one recipe and teacher, its rows, and the cells that each row is made of."""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from statistics import median
from typing import Any

from kdbench.results.commands import again
from kdbench.results.record import PLAIN, Record
from kdbench.results.reported_column import published
from kdbench.results.statistics import Difference, deviation, difference, gap_closed, holm, mean, ratio

TEACHER_ROW = "teacher"
METRIC = "metric:"
"""What the columns of secondary metrics begin with."""
GROUP = ("dataset", "pair", "schedule", "recipe", "teacher", "metric")
"""Rows that differ in one of these are never ranked together."""
COLUMNS = {
    **dict.fromkeys([*GROUP, "method"], "str"),
    "seeds": "int64",
    "mean": "float64",
    "std": "float64",
    "shared_seeds": "int64",
    **dict.fromkeys(("difference", "low", "high", "gap_closed", "time_ratio"), "float64"),
    "failed": "int64",
    "verdict": "str",
    **dict.fromkeys(("p", "p_holm", "relative_gain"), "float64"),
    "selection": "str",
    "best": "float64",
    **dict.fromkeys(("skipped", "smoke", "missing", "reported"), "int64"),
    **dict.fromkeys(("seconds_per_iteration", "peak_memory_mib", "added_parameters"), "float64"),
    **dict.fromkeys(("student_parameters", "student_flops", "latency_ms"), "float64"),
    "latency_on": "str",
    "paper_difference": "float64",
    **dict.fromkeys(("paper_setting", "plugin", "command"), "str"),
}
"""Column -> dtype.

Scores (mean, std, best), differences (difference, low, high, paper_difference), gap_closed and relative_gain (the
difference over the plain student's score of the same seeds) are fractions; std is over seeds; ``p`` is that of the
paired t test and ``p_holm`` the same corrected over the ranking's rows, which decides the verdict. ``selection``
is which evaluation ranks: the last; ``best`` is the mean at the best one, which flatters and never ranks.
failed, skipped, smoke and missing count cells that are in no mean; missing is what a benchmark file asks for and
was not run. ``reported`` is how many of the seeds others report. ``seconds_per_iteration`` is the mean over seeds;
``time_ratio`` compares only seeds in which the method and the plain student took turns in one process; memory,
parameters and FLOPs are the largest of the seeds; ``latency_ms`` is the median of the seeds, measured on
``latency_on``, and blank where that is several kinds of machine. ``paper_difference`` is the paper's own, on
``paper_setting``. Further columns ``metric:NAME`` are means of the other metrics after the last iteration.
"""
LARGEST = ("peak_memory_mib", "added_parameters", "student_parameters", "student_flops")
_BLANK = {"str": "", "int64": 0, "float64": math.nan}

Key = tuple[str, str, str]


class Row(Mapping[str, Any]):
    """A row of a ranking: reads as a mapping from its columns (``COLUMNS`` and more), and keeps its cells.

    Args:
        cells: Records of the row, done or not; of several of one seed the last counts.
        values: Column -> value; a column that is not given is blank.
    """

    def __init__(self, cells: Iterable[Record], values: Mapping[str, Any]) -> None:
        self.cells = tuple(cells)
        self._values = {name: _BLANK[kind] for name, kind in COLUMNS.items()} | dict(values)

    def __getitem__(self, column: str) -> Any:
        return self._values[column]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def but(self, **changes: Any) -> Row:
        """The same row with other values in some columns."""
        return Row(self.cells, self._values | changes)

    @cached_property
    def done(self) -> dict[int, Record]:
        """Seed -> done record."""
        return {cell.seed: cell for cell in self.cells if cell.done}

    def scores(self, metric: str | None = None) -> dict[int, float]:
        """Seed -> metric after the last iteration, where it was measured; by default the one that ranks."""
        return {
            seed: cell.metrics.last[name]
            for seed, cell in self.done.items()
            if cell.metrics is not None and (name := metric or cell.metric) in cell.metrics.last
        }

    @property
    def is_reference(self) -> bool:
        """Whether it is the teacher or the plain student, which are not ranked."""
        return self["method"] in (TEACHER_ROW, PLAIN)


@dataclass(frozen=True)
class Ranking:
    """A ranking.

    Attributes:
        rows: The teacher, the plain student, then the methods, the largest gain first.
    """

    rows: Sequence[Row]

    @property
    def first(self) -> Row:
        """A row, for what all rows share: dataset, pair, schedule, recipe, teacher and metric."""
        return self.rows[0]

    @property
    def key(self) -> tuple[str, ...]:
        """What all rows share: the values of ``GROUP``."""
        return tuple(self.first[name] for name in GROUP)

    @property
    def metric(self) -> str:
        """Name of the metric that ranks."""
        return str(self.first["metric"])

    @property
    def heading(self) -> str:
        """Names dataset, pair, schedule, recipe and teacher."""
        first = self.first
        parts = [f"{first['schedule']} schedule" if self.was_run else "not run"]
        parts += [f"{key} {first[key]}" for key in ("recipe", "teacher") if first[key]]
        return f"{first['dataset']}: {first['pair']} ({', '.join(parts)})"

    @property
    def was_run(self) -> bool:
        """Whether any cell of it has a record."""
        return bool(self.first["recipe"])

    @cached_property
    def methods(self) -> list[Row]:
        """The rows of the methods, in rank order."""
        return [row for row in self.rows if not row.is_reference]

    def row(self, label: str) -> Row | None:
        """The row with that label, if there is one."""
        return next((row for row in self.rows if row["method"] == label), None)

    def level(self, label: str) -> float:
        """Mean score of the teacher or the plain student, in [0, 1]; NaN where there is none."""
        row = self.row(label)
        return math.nan if row is None else float(row["mean"])

    def scores(self, label: str, metric: str | None = None) -> dict[int, float]:
        """Seed -> metric of a row; empty where there is no such row."""
        row = self.row(label)
        return {} if row is None else row.scores(metric)

    def differences(self, label: str, metric: str | None = None) -> list[float]:
        """Differences of a row to the plain student at each shared seed, as fractions.

        Args:
            label: Of the row.
            metric: A metric after the last iteration; default: the one that ranks.
        """
        own, plain = self.scores(label, metric), self.scores(PLAIN, metric)
        return [own[seed] - plain[seed] for seed in sorted(own.keys() & plain.keys())]


@dataclass(frozen=True)
class Board:
    """What a ranking is made from.

    Attributes:
        plain: Cells of the plain student.
        methods: Cells of the methods.
        teachers: The teachers' own records.
        teacher: Identity of the teacher that all are ranked under; blank where there is none.
        smoke: Selector -> smoke cells of the same pair: counted, never ranked.
    """

    plain: Sequence[Record]
    methods: Sequence[Record]
    teachers: Sequence[Record]
    teacher: str
    smoke: Mapping[str, int]

    def ranking(self) -> Ranking:
        """The teacher, the plain student and the sorted methods."""
        by_key: dict[Key, list[Record]] = defaultdict(list)
        for cell in self.methods:
            by_key[key_of(cell)].append(cell)
        selectors = Counter(selector for selector, _, _ in by_key)
        labels = {key: key[0] if selectors[key[0]] == 1 else long_label(key) for key in by_key}
        found = [self._method_row(labels[key], cells) for key, cells in by_key.items()]
        corrected = holm([gain.p for _, gain in found])
        rows = [_judged(row, gain, p) for (row, gain), p in zip(found, corrected, strict=True)]
        rows += [self._smoke_row(selector) for selector in self.smoke.keys() - {PLAIN, *selectors}]
        rows.sort(key=lambda row: (math.isnan(row["difference"]), -row["difference"], row["method"]))
        return Ranking([self._teacher_row(), self._plain_row, *rows])

    def _row(self, method: str, cells: Sequence[Record], **more: Any) -> Row:
        """A row of the cells of one method; those that are done are averaged, the others counted."""
        first, row = (*self.plain, *self.methods)[0], Row(cells, {})
        scores = more.pop("scores", row.scores().values())
        done = list(row.done.values())
        values = {
            "dataset": first.dataset,
            "pair": first.pair_name,
            "schedule": first.schedule,
            "recipe": first.recipe[:12],
            "teacher": self.teacher[:12],
            "metric": first.metric,
            "method": method,
            "seeds": len(scores),
            "mean": mean(scores),
            "std": deviation(scores),
            "failed": sum(cell.status in ("failed", "timed-out") for cell in cells),
            "verdict": "" if scores else "no result",
            "selection": "last",
            "best": _best(done),
            "skipped": sum(cell.status == "skipped" for cell in cells),
            "reported": sum(cell.reported_by is not None for cell in done),
            "plugin": max(dict.fromkeys(cell.plugin for cell in cells), key=version_order, default=""),
            "command": again(cells),
        }
        return Row(cells, values | costs(done) | _secondary(done) | more)

    def _teacher_row(self) -> Row:
        own = [record for record in self.teachers if record.identity == self.teacher]
        waiting = [cell for cell in self.methods if cell.done and cell.teacher_identity == self.teacher]
        first = min(waiting, key=lambda cell: (cell.seed, cell.identity), default=None)
        command = "" if first is None else again([first])
        return self._row(TEACHER_ROW, own, scores=self._teacher_scores, command=command, plugin="")

    @cached_property
    def _teacher_scores(self) -> list[float]:
        """One score for each set of teacher weights that the students met."""
        met = [cell.teacher for cell in (*self.plain, *self.methods) if cell.teacher]
        by_weights = {t.weights_sha256: t.value for t in met if t.identity == self.teacher}
        own = [t.score for t in self.teachers if t.identity == self.teacher and t.score is not None]
        return list(by_weights.values()) or own

    @cached_property
    def _plain_row(self) -> Row:
        """Of several versions of the plain student's plugin the latest counts."""
        return self._row(PLAIN, latest_last(self.plain), smoke=self.smoke.get(PLAIN, 0))

    def _smoke_row(self, selector: str) -> Row:
        return self._row(selector, [], smoke=self.smoke[selector], verdict="smoke only")

    def _method_row(self, label: str, cells: Sequence[Record]) -> tuple[Row, Difference]:
        row = self._row(label, cells, smoke=self.smoke.get(cells[0].selector, 0))
        baseline, paper = self._plain_row.scores(), published(cells[0])
        gain = difference(row.scores(), baseline)
        level = mean(baseline[seed] for seed in row.scores().keys() & baseline.keys())
        return row.but(
            shared_seeds=gain.n,
            difference=gain.mean,
            low=gain.low,
            high=gain.high,
            gap_closed=gap_closed(gain.mean, level, mean(self._teacher_scores)),
            time_ratio=time_ratio(row.done, self._plain_row.done),
            p=gain.p,
            relative_gain=gain.mean / level if level > 0 else math.nan,
            paper_difference=paper.difference,
            paper_setting=paper.setting,
        ), gain


def _judged(row: Row, gain: Difference, p: float) -> Row:
    return row.but(p_holm=p, verdict=gain.verdict_at(p) if row["seeds"] else "no result")


def latest_last(plain: Iterable[Record]) -> list[Record]:
    """Plain students, those of the plugin's latest version last: they count."""
    return sorted(plain, key=lambda cell: (version_order(cell.plugin), cell.identity))


def version_order(plugin: str) -> tuple[tuple[int, str], ...]:
    """Sort key of a plugin such as ``name 1.10.0``, by the numbers of its version."""
    parts = plugin.rpartition(" ")[2].split(".")
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in parts)


def key_of(cell: Record) -> Key:
    """What cells of one row have in common: selector, plugin, and what the options meant."""
    return cell.selector, cell.plugin, cell.options_text


def long_label(key: Key) -> str:
    """A label for one of several rows with the same selector."""
    return f"{key[0]} ({key[1]}, options {hashlib.sha256(key[2].encode()).hexdigest()[:6]})"


def _best(cells: Sequence[Record]) -> float:
    """Mean at the best evaluation; NaN unless every cell has one."""
    values = [cell.metrics.best.get(cell.metric, math.nan) for cell in cells if cell.metrics is not None]
    return mean(values)


def _secondary(cells: Sequence[Record]) -> dict[str, float]:
    """Means of the metrics after the last iteration that do not rank, each over the cells that have it."""
    last = [cell.metrics.last for cell in cells if cell.metrics is not None]
    names = dict.fromkeys(chain.from_iterable(last)).keys() - {cell.metric for cell in cells}
    return {f"{METRIC}{name}": mean([each[name] for each in last if name in each]) for name in names}


def costs(cells: Sequence[Record]) -> dict[str, float | str]:
    """Mean time of an iteration, the largest memory (MiB), parameters and multiply-adds, and the latency.

    What is unknown is NaN.
    """
    spent = [cell.cost for cell in cells]
    seconds = [cost.seconds_per_iteration for cost in spent if cost.seconds_per_iteration is not None]
    found: dict[str, float | str] = {"seconds_per_iteration": mean(seconds), **latency(cells)}
    for name in LARGEST:
        values = [value for cost in spent if (value := getattr(cost, name)) is not None]
        found[name] = float(max(values, default=math.nan))
    return found


def latency(cells: Sequence[Record]) -> dict[str, float | str]:
    """Median latency (ms) of the cells that have one, and the kind of machine that it was measured on.

    Where they were measured on several kinds of machine there is no latency: NaN, and the machines are named.
    """
    timed = [(cell.cost.latency_ms, " on ".join(_machine(cell))) for cell in cells if cell.cost.latency_ms]
    machines = sorted({machine for _, machine in timed})
    value = median(ms for ms, _ in timed) if len(machines) == 1 else math.nan
    return {"latency_ms": value, "latency_on": "; ".join(machines)}


def time_ratio(own: Mapping[int, Record], plain: Mapping[int, Record]) -> float:
    """Time of an iteration relative to the plain student's, over the seeds in which the two took turns.

    Other times say more of what else ran on the machine than of the method: they are left out.

    Args:
        own: Seed -> record.
        plain: Seed -> record of the plain student.

    Returns:
        Geometric mean of the ratios; NaN where there is none.
    """
    same = [seed for seed in own.keys() & plain.keys() if _in_turns(own[seed], plain[seed])]
    return ratio(_seconds(own, same), _seconds(plain, same))


def _in_turns(one: Record, other: Record) -> bool:
    together = one.cost.timed_with
    return together is not None and together == other.cost.timed_with and _machine(one) == _machine(other)


def _machine(cell: Record) -> tuple[str, str]:
    return cell.device, cell.host_class


def _seconds(cells: Mapping[int, Record], seeds: Iterable[int]) -> dict[int, float]:
    return {seed: value for seed in seeds if (value := cells[seed].cost.seconds_per_iteration) is not None}
