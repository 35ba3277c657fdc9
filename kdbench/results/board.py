"""One ranking: the rows of a pair under one recipe and teacher, and the model behind their verdicts."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from kdbench.results import equal_time
from kdbench.results.commands import again
from kdbench.results.model import Estimate, RankingModel
from kdbench.results.naming import Key, key_of, labels
from kdbench.results.papers import nearest_published
from kdbench.results.record import Record
from kdbench.results.row import (
    GROUP,
    TEACHER_ROW,
    Row,
    best,
    latest_last,
    machines,
    secondary,
    spent,
    time_ratios,
    twins,
    version_order,
)
from kdbench.results.statistics import deviation, gains, gap_closed, mean
from kdbench.specs import PLAIN

MODEL_DIGITS = 10
"""Decimals of the model's numbers that all machines agree on."""


@dataclass(frozen=True)
class Ranking:
    """A ranking.

    Attributes:
        rows: The teacher, the plain student, its controls, then the methods, the largest difference first.
        model: The model behind intervals and verdicts.
        controls: Label of a plain student that trained longer -> model of the differences to it.
    """

    rows: Sequence[Row]
    model: RankingModel
    controls: Mapping[str, RankingModel] = field(default_factory=dict)

    def with_rows(self, rows: Iterable[Row]) -> Ranking:
        """Return the ranking with other rows and the same model."""
        return replace(self, rows=list(rows))

    @property
    def first(self) -> Row:
        """The first row, for the columns that all rows share."""
        return self.rows[0]

    @property
    def key(self) -> tuple[str, ...]:
        """The values of the columns ``GROUP``."""
        return tuple(self.first[name] for name in GROUP)

    @property
    def metric(self) -> str:
        """Name of the metric that ranks."""
        return str(self.first["metric"])

    @property
    def heading(self) -> str:
        """Dataset, pair, schedule, device, precision, recipe and teacher."""
        first = self.first
        run = [f"{first['schedule']} schedule", f"{first['device']} {first['precision']}"]
        parts = run if self.was_run else ["not run"]
        parts += [f"{key} {first[key]}" for key in ("recipe", "teacher") if first[key]]
        parts += [f"less {self.metric} is better, and + is a gain"] if self.sign < 0 else []
        return f"{first['dataset']}: {first['pair']} ({', '.join(parts)})"

    @property
    def was_run(self) -> bool:
        """Whether any of its cells has a record."""
        return bool(self.first["recipe"])

    @cached_property
    def methods(self) -> list[Row]:
        """The rows of the methods, in rank order."""
        return [row for row in self.rows if not row.is_reference]

    def row(self, label: str) -> Row | None:
        """Return the row with a label; None if there is none."""
        return next((row for row in self.rows if row["method"] == label), None)

    @property
    def first_choice(self) -> Row | None:
        """The method to try first: the one with the largest mean difference of those that are better, if any."""
        better = [row for row in self.methods if row["verdict"] == "better"]
        return max(better, key=lambda row: row["difference"], default=None)

    def level(self, label: str) -> float:
        """Return the mean score of a row, in [0, 1]; NaN without one."""
        row = self.row(label)
        return math.nan if row is None else float(row["mean"])

    def scores(self, label: str, metric: str | None = None) -> dict[int, float]:
        """Return seed -> metric of a row; empty if there is no such row."""
        row = self.row(label)
        return {} if row is None else row.scores(metric)

    def differences(self, label: str, metric: str | None = None) -> list[float]:
        """Return the differences of a row to the plain student at each shared seed, as fractions.

        In the metric that ranks, overall or of a class, a positive difference is an improvement.

        Args:
            label: Label of the row.
            metric: A metric after the last iteration; default: the one that ranks.
        """
        sign = self.sign if metric is None or metric.partition("/")[0] == self.metric else 1
        return [sign * gain for gain in gains(self.scores(label, metric), self.scores(PLAIN, metric))]

    @property
    def sign(self) -> int:
        """1 if more of the metric that ranks is better, -1 if less is."""
        return next((row.cells[0].sign for row in self.rows if row.cells), 1)

    def pair(self, label: str, other: str) -> Estimate | None:
        """Return the difference ``label - other`` with an interval for this pair alone; None without one."""
        one, two = self.counted(label), self.counted(other)
        if one in self.controls:
            found = self.controls[one].pair(two, one)
            return None if found is None else found.reversed
        return self.controls.get(two, self.model).pair(one, two)

    def counted(self, label: str) -> str:
        """Return the label under which a row is in the model: its own, or that of the row it repeats."""
        row = self.row(label)
        return label if row is None else row["same_as"] or label


@dataclass(frozen=True)
class Board:
    """The records from which a ranking is made.

    Attributes:
        plain: Cells of the plain student.
        controls: Cells of plain students that trained longer.
        methods: Cells of the methods.
        teachers: Records of teachers.
        teacher: Identity of the ranking's teacher; blank without one.
        smoke: Selector -> number of smoke cells of the same pair, which are counted and never ranked.
    """

    plain: Sequence[Record]
    controls: Sequence[Record]
    methods: Sequence[Record]
    teachers: Sequence[Record]
    teacher: str
    smoke: Mapping[str, int]

    def ranking(self) -> Ranking:
        """Return the teacher, the plain student, its controls and the sorted methods."""
        found = [self._method_row(label, cells) for label, cells in _by_label(self.methods).items()]
        same = twins(found)
        counted = {row["method"]: row for row in found if row["method"] not in same}
        model = RankingModel(self._plain_row.blocks, {label: row.blocks for label, row in counted.items()})
        rows = [self._judged(row, model, same.get(row["method"], "")) for row in found]
        selectors = {cell.selector for cell in (*self.controls, *self.methods)}
        rows += [self._smoke_row(selector) for selector in self.smoke.keys() - {PLAIN, *selectors}]
        rows.sort(key=lambda row: (math.isnan(row["difference"]), -row["difference"], row["method"]))
        controls = [self._control_row(label, cells) for label, cells in _by_label(self.controls).items()]
        models = equal_time.control_models(self._plain_row, controls, counted)
        plain, *rows = [self._at_equal_time(row, controls, models) for row in (self._plain_row, *rows)]
        return Ranking([self._teacher_row(), plain, *controls, *rows], model, models)

    def _control_row(self, label: str, cells: Sequence[Record]) -> Row:
        """Return a control's row: its mean difference to the plain student, without a verdict."""
        row = self._row(label, cells)
        paired = row.gains(self._plain_row)
        verdict = "control" if row["seeds"] else "no result"
        return row.but(difference=mean(paired), shared_seeds=len(paired), verdict=verdict)

    @staticmethod
    def _at_equal_time(row: Row, controls: Sequence[Row], models: Mapping[str, RankingModel]) -> Row:
        """Return a row with its difference to its control, if it has one."""
        ratio = 1.0 if row["method"] == PLAIN else row["time_ratio"]
        control = equal_time.control_of(ratio, [one for one in controls if one["seeds"]])
        if control is None or not row["seeds"]:
            return row
        found = equal_time.beside(row, control, models[control["method"]])
        return row.but(**{name: _rounded(value) for name, value in found.items()})

    def _row(self, method: str, cells: Sequence[Record], **more: Any) -> Row:
        """Make a row of the cells of one method; done cells are averaged, the others counted."""
        first, row = (*self.plain, *self.controls, *self.methods)[0], Row(cells, {})
        scores = more.pop("scores", row.scores().values())
        done = list(row.done.values())
        values = {
            "dataset": first.dataset,
            "pair": first.pair_name,
            "schedule": first.schedule,
            "recipe": first.recipe[:12],
            "teacher": self.teacher[:12],
            "metric": first.metric,
            "device": first.device_class,
            "precision": first.precision,
            "method": method,
            "seeds": len(scores),
            "mean": mean(scores),
            "std": deviation(scores),
            "failed": sum(cell.status in ("failed", "timed-out") for cell in cells),
            "verdict": "" if scores else "no result",
            "selection": "last",
            "best": best(done),
            "skipped": sum(cell.status == "skipped" for cell in cells),
            "reported": sum(cell.reported_by is not None for cell in done),
            "trials": max((len(cell.tuned.trials) for cell in done if cell.tuned), default=0),
            "plugin": max(dict.fromkeys(cell.plugin for cell in cells), key=version_order, default=""),
            "command": again(cells),
        }
        return Row(cells, values | spent(done) | secondary(done) | more)

    def _teacher_row(self) -> Row:
        own = [record for record in self.teachers if record.identity == self.teacher]
        waiting = [cell for cell in self.methods if cell.done and cell.teacher_identity == self.teacher]
        first = min(waiting, key=lambda cell: (cell.seed, cell.selector, cell.identity), default=None)
        command = "" if first is None else again([first])
        return self._row(TEACHER_ROW, own, scores=self._teacher_scores, command=command, plugin="")

    @cached_property
    def _teacher_scores(self) -> list[float]:
        """One score for each of the teacher's weights that a student was distilled from."""
        met = [cell.teacher for cell in (*self.plain, *self.methods) if cell.teacher]
        by_weights = {
            t.weights_sha256: t.value for t in met if t.identity == self.teacher and t.value is not None
        }
        own = [t.score for t in self.teachers if t.identity == self.teacher and t.score is not None]
        return list(by_weights.values()) or own

    @cached_property
    def _plain_row(self) -> Row:
        """The plain student's row, of its latest revision."""
        return self._row(PLAIN, latest_last(self.plain), smoke=self.smoke.get(PLAIN, 0))

    def _smoke_row(self, selector: str) -> Row:
        return self._row(selector, [], smoke=self.smoke[selector], verdict="smoke only")

    def _method_row(self, label: str, cells: Sequence[Record]) -> Row:
        row, paper = (
            self._row(label, cells, smoke=self.smoke.get(cells[0].selector, 0)),
            nearest_published(cells[0]),
        )
        return row.but(
            machines=machines(row.done, self._plain_row.done),
            **time_ratios(row.done, self._plain_row.done),
            paper_difference=paper.difference,
            paper_setting=paper.setting,
        )

    def _judged(self, row: Row, model: RankingModel, same_as: str) -> Row:
        """Return a method's row with its difference to the plain student and its verdict."""
        paired = row.gains(self._plain_row)
        baseline = self._plain_row.blocks
        level = mean(baseline[block] for block in baseline.keys() & row.blocks.keys())
        found = model.estimates.get(same_as or row["method"])
        gain = mean(paired) if found is None else found.mean
        teacher = (*row.cells, *self.plain)[0].sign * mean(self._teacher_scores)
        row = row.but(
            shared_seeds=len(paired),
            difference=gain,
            gap_closed=gap_closed(gain, level, teacher),
            relative_gain=gain / abs(level) if level else math.nan,
            same_as=same_as,
        )
        if found is None:
            few = "one seed" if paired else "no plain student"
            return row.but(verdict=few if row["seeds"] else "no result")
        numbers = {name: _rounded(getattr(found, name)) for name in ("low", "high", "p", "scatter")}
        interval = "own" if found.own else "pooled"
        return row.but(**numbers, interval=interval, verdict=found.verdict, reason=found.reason)


def _by_label(cells: Iterable[Record]) -> dict[str, list[Record]]:
    """Return the label of each row -> its cells."""
    by_key: dict[Key, list[Record]] = defaultdict(list)
    for cell in cells:
        by_key[key_of(cell)].append(cell)
    called = labels(by_key)
    return {called[key]: found for key, found in by_key.items()}


def _rounded(value: Any) -> Any:
    """Round a number to the digits that all machines agree on; return anything else as it is."""
    return round(value, MODEL_DIGITS) if isinstance(value, float) else value
