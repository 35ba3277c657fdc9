"""One ranking: the rows of the cells of one pair, recipe and teacher."""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

from kdbench.results.columns import METRIC, TEACHER_ROW
from kdbench.results.commands import again
from kdbench.results.costs import costs, time_ratio
from kdbench.results.record import Record
from kdbench.results.reported_column import published
from kdbench.results.statistics import (
    Difference,
    bootstrap_interval,
    deviation,
    difference,
    gap_closed,
    holm,
    mean,
)
from kdbench.specs import PLAIN

Key = tuple[str, int, str]
Row = dict[str, Any]
UNKNOWN = (
    "difference",
    "low",
    "high",
    "gap_closed",
    "time_ratio",
    "p",
    "p_holm",
    "relative_gain",
    "paper_difference",
)


@dataclass(frozen=True)
class Board:
    """One ranking.

    Attributes:
        plain: Cells of the plain student.
        methods: Cells of the methods.
        teachers: The teachers' own records.
        teacher: Identity of the teacher that all are ranked under; blank where there is none.
        smoke: Selector -> smoke cells of the same pair: counted, never ranked.
        bootstrap: Whether rows have a bootstrap interval too.
    """

    plain: Sequence[Record]
    methods: Sequence[Record]
    teachers: Sequence[Record]
    teacher: str
    smoke: Mapping[str, int]
    bootstrap: bool = False

    def rows(self) -> list[Row]:
        """The teacher, the plain student and the sorted methods."""
        by_key: dict[Key, list[Record]] = defaultdict(list)
        for cell in self.methods:
            by_key[key_of(cell)].append(cell)
        selectors = Counter(selector for selector, _, _ in by_key)
        found = [
            self._method_row(key[0] if selectors[key[0]] == 1 else long_label(key), by_key[key])
            for key in by_key
        ]
        rows = [row for row, _ in found]
        for (row, gain), p in zip(found, holm([gain.p for _, gain in found]), strict=True):
            row["p_holm"] = p
            row["verdict"] = gain.verdict_at(p) if row["seeds"] else "no result"
        rows += [self._smoke_row(selector) for selector in self.smoke.keys() - {PLAIN, *selectors}]
        rows.sort(key=lambda row: (math.isnan(row["difference"]), -row["difference"], row["method"]))
        return [self._teacher_row(), self._plain_row(), *rows]

    def _row(self, method: str, scores: Iterable[float], cells: Sequence[Record], **more: Any) -> Row:
        """A row of the cells of one selector; those that are done are averaged, the others counted."""
        first, done, scores = self._first, _by_seed(cells), list(scores)
        row: Row = {
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
            "shared_seeds": 0,
            "failed": sum(cell.status in ("failed", "timed-out") for cell in cells),
            "verdict": "" if scores else "no result",
            "selection": "last",
            "best": _best(done.values()),
            "skipped": sum(cell.status == "skipped" for cell in cells),
            "smoke": 0,
            "missing": 0,
            "reported": sum(cell.reported_by is not None for cell in done.values()),
            "paper_setting": "",
            "plugin": max(dict.fromkeys(cell.plugin for cell in cells), key=version_order, default=""),
            "command": again(cells),
            **dict.fromkeys(UNKNOWN, math.nan),
            **costs(done.values()),
            **_secondary(done.values()),
            **more,
        }
        return row | (_blank_interval() if self.bootstrap and "bootstrap_low" not in row else {})

    @cached_property
    def _first(self) -> Record:
        return (*self.plain, *self.methods)[0]

    def _teacher_row(self) -> Row:
        own = [record for record in self.teachers if record.identity == self.teacher]
        waiting = [cell for cell in self.methods if cell.done and cell.teacher_identity == self.teacher]
        first = min(waiting, key=lambda cell: (cell.seed, cell.selector, cell.identity), default=None)
        command = "" if first is None else again([first])
        return self._row(TEACHER_ROW, self._teacher_scores, own, command=command, plugin="")

    @cached_property
    def _teacher_scores(self) -> list[float]:
        """One score for each set of teacher weights that the students met."""
        met = [cell.teacher for cell in (*self.plain, *self.methods) if cell.teacher]
        by_weights = {t.weights_sha256: t.value for t in met if t.identity == self.teacher}
        own = [t.score for t in self.teachers if t.identity == self.teacher and t.score is not None]
        return list(by_weights.values()) or own

    def _plain_row(self) -> Row:
        counted = self.smoke.get(PLAIN, 0)
        return self._row(PLAIN, _scores(self._baseline).values(), self._plain_in_order, smoke=counted)

    @cached_property
    def _plain_in_order(self) -> list[Record]:
        return latest_last(self.plain)

    @cached_property
    def _baseline(self) -> dict[int, Record]:
        """Seed -> plain student; of several revisions the latest."""
        return _by_seed(self._plain_in_order)

    def _smoke_row(self, selector: str) -> Row:
        return self._row(selector, [], [], smoke=self.smoke[selector], verdict="smoke only")

    def _method_row(self, label: str, cells: Sequence[Record]) -> tuple[Row, Difference]:
        plain, own = self._baseline, _by_seed(cells)
        scores, baseline = _scores(own), _scores(plain)
        gain = difference(scores, baseline)
        shared = scores.keys() & baseline.keys()
        level = mean(baseline[seed] for seed in shared)
        paper = published(cells[0])
        row = self._row(
            label,
            scores.values(),
            cells,
            shared_seeds=gain.n,
            difference=gain.mean,
            low=gain.low,
            high=gain.high,
            gap_closed=gap_closed(gain.mean, level, mean(self._teacher_scores)),
            time_ratio=time_ratio(own, plain),
            p=gain.p,
            relative_gain=gain.mean / level if level > 0 else math.nan,
            smoke=self.smoke.get(cells[0].selector, 0),
            paper_difference=paper.difference,
            paper_setting=paper.setting,
        )
        if self.bootstrap:
            ends = bootstrap_interval(scores[seed] - baseline[seed] for seed in shared)
            row["bootstrap_low"], row["bootstrap_high"] = ends
        return row, gain


def latest_last(plain: Iterable[Record]) -> list[Record]:
    """Plain students, those of the latest revision last: they count."""
    return sorted(plain, key=lambda cell: (cell.revision, cell.identity))


def version_order(plugin: str) -> tuple[tuple[int, str], ...]:
    """Sort key of a plugin such as ``name 1.10.0``, by the numbers of its version."""
    parts = plugin.rpartition(" ")[2].split(".")
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in parts)


def key_of(cell: Record) -> Key:
    """What cells of one row have in common: selector, revision, and what the options meant."""
    return cell.selector, cell.revision, cell.options_text


def long_label(key: Key) -> str:
    """A label for one of several rows with the same selector."""
    return f"{key[0]} (revision {key[1]}, options {hashlib.sha256(key[2].encode()).hexdigest()[:6]})"


def _blank_interval() -> Row:
    return {"bootstrap_low": math.nan, "bootstrap_high": math.nan}


def _by_seed(cells: Iterable[Record]) -> dict[int, Record]:
    return {cell.seed: cell for cell in cells if cell.done}


def _scores(cells: Mapping[int, Record]) -> dict[int, float]:
    return {seed: cell.score for seed, cell in cells.items() if cell.score is not None}


def _best(cells: Iterable[Record]) -> float:
    """Mean at the best evaluation; NaN unless every cell has one."""
    values = [cell.metrics.best.get(cell.metric, math.nan) for cell in cells if cell.metrics is not None]
    return mean(values)


def _secondary(cells: Iterable[Record]) -> dict[str, float]:
    """Means of the metrics after the last iteration that do not rank, each over the cells that have it."""
    cells = [cell for cell in cells if cell.metrics is not None]
    last = [cell.metrics.last for cell in cells if cell.metrics is not None]
    names = dict.fromkeys(chain.from_iterable(last)).keys() - {cell.metric for cell in cells}
    return {f"{METRIC}{name}": mean([each[name] for each in last if name in each]) for name in names}
