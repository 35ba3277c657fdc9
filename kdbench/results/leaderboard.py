"""Leaderboards as pandas frames: every method against the plain student of the same seeds and recipe."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from kdbench.results.record import PLAIN, Record
from kdbench.results.statistics import deviation, difference, gap_closed, mean, ratio
from kdbench.specs import digest

COLUMNS = {
    "dataset": "str",
    "pair": "str",
    "schedule": "str",
    "recipe": "str",
    "teacher": "str",
    "metric": "str",
    "method": "str",
    "seeds": "int64",
    "mean": "float64",
    "std": "float64",
    "shared_seeds": "int64",
    "difference": "float64",
    "low": "float64",
    "high": "float64",
    "gap_closed": "float64",
    "time_ratio": "float64",
    "failed": "int64",
    "verdict": "str",
}
GROUP = ["dataset", "pair", "schedule", "recipe", "teacher", "metric"]
"""Rows that differ in one of these are never ranked together."""
TEACHER_ROW = "teacher"
_OF_THE_METHOD = {"method", "options", "selector", "plugin", "seed", "teacher"}


def recipe_of(record: Record) -> str:
    """Hash of all that must be equal for two cells to be comparable: data, models, schedule, precision."""
    return digest({key: value for key, value in record.spec.items() if key not in _OF_THE_METHOD})


def leaderboard(records: Iterable[Record], dataset: str) -> pd.DataFrame:
    """The ranking of one dataset, one block of rows a (pair, recipe, teacher).

    Scores are fractions in [0, 1] after the last iteration; blanks are NaN. Smoke runs do not appear.

    Args:
        records: Records of any dataset, in any order.
        dataset: Which to rank.

    Returns:
        A frame with ``COLUMNS``: the teacher, the plain student, then the methods by mean paired difference.
    """
    ranked = [r for r in _unique(records) if r.dataset == dataset and r.schedule != "smoke"]
    teachers = [record for record in ranked if record.kind == "teacher"]
    groups: dict[tuple[str, ...], list[Record]] = defaultdict(list)
    for record in ranked:
        if record.kind == "cell":
            groups[record.pair_name, record.schedule, recipe_of(record), record.metric].append(record)
    rows = [row for key in sorted(groups) for board in _boards(groups[key], teachers) for row in board.rows()]
    frame: pd.DataFrame = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    return frame


def _unique(records: Iterable[Record]) -> list[Record]:
    """One record an identity, a done one if there is one, sorted."""
    ordered = sorted(records, key=lambda record: (record.identity, record.done, record.to_json()))
    return list({record.identity: record for record in ordered}.values())


def origins(teachers: Iterable[Record]) -> dict[str, str]:
    """Identity of each teacher -> that of the teacher it began with: another one where a stage came after it."""
    return {teacher.identity: teacher.spec.get("base") or teacher.identity for teacher in teachers}


def ranked_under(cell: Record, began_with: Mapping[str, str]) -> str:
    """Identity of the teacher that a cell is ranked under: an ensemble's first, a staged one's base.

    Args:
        cell: A distilled student's record.
        began_with: See :func:`origins`.
    """
    taught_by = cell.teacher.identity if cell.teacher else cell.teacher_identity or ""
    return began_with.get(taught_by, taught_by)


def _boards(cells: Sequence[Record], teachers: Sequence[Record]) -> list[_Board]:
    """One ranking a teacher; the plain students serve them all.

    A method that prepared its teacher in a further stage is ranked under the teacher that the stage began with.
    """
    began_with = origins(teachers)
    plain = [cell for cell in cells if cell.method == PLAIN]
    methods: dict[str, list[Record]] = defaultdict(list)
    for cell in cells:
        if cell.method != PLAIN:
            methods[ranked_under(cell, began_with)].append(cell)
    if not methods:
        methods[_only_teacher(plain, teachers)] = []
    return [_Board(plain, methods[key], teachers, key) for key in sorted(methods)]


def _only_teacher(plain: Sequence[Record], teachers: Sequence[Record]) -> str:
    """The teacher that awaits methods, where there are only plain students."""
    known = {cell.teacher.identity for cell in plain if cell.teacher}
    known = known or {t.identity for t in teachers if _is_teacher_of(t, plain[0])}
    return known.pop() if len(known) == 1 else ""


def _is_teacher_of(teacher: Record, cell: Record) -> bool:
    """Whether a teacher is the one that a cell's pair describes: not of an ensemble, not after a stage."""
    pair = cell.spec["pair"]
    described = {
        "model": pair.get("teacher"),
        "recipe": pair.get("teacher_schedule"),
        "seed": 0,
        "base": None,
    }
    described |= {name: cell.spec.get(name) for name in ("dataset", "data", "schedule", "amp")}
    return all(teacher.spec.get(name) == value for name, value in described.items())


@dataclass(frozen=True)
class _Board:
    """One ranking: the cells of one pair, recipe and teacher."""

    plain: Sequence[Record]
    methods: Sequence[Record]
    teachers: Sequence[Record]
    teacher: str

    def rows(self) -> list[dict[str, Any]]:
        """The teacher, the plain student and the sorted methods."""
        by_key: dict[tuple[str, str, str], list[Record]] = defaultdict(list)
        for cell in self.methods:
            by_key[cell.selector, cell.plugin, digest(dict(cell.options))].append(cell)
        selectors = [selector for selector, _, _ in by_key]
        rows = [
            self._method_row(key[0] if selectors.count(key[0]) == 1 else _long_label(key), by_key[key])
            for key in by_key
        ]
        rows.sort(key=lambda row: (math.isnan(row["difference"]), -row["difference"], row["method"]))
        return [self._teacher_row(), self._plain_row(), *rows]

    def _row(
        self, method: str, scores: Iterable[float], cells: Iterable[Record], **more: Any
    ) -> dict[str, Any]:
        first = (*self.plain, *self.methods)[0]
        scores = list(scores)
        blank = dict.fromkeys(("difference", "low", "high", "gap_closed", "time_ratio"), math.nan)
        return {
            "dataset": first.dataset,
            "pair": first.pair_name,
            "schedule": first.schedule,
            "recipe": recipe_of(first)[:12],
            "teacher": self.teacher[:12],
            "metric": first.metric,
            "method": method,
            "seeds": len(scores),
            "mean": mean(scores),
            "std": deviation(scores),
            "shared_seeds": 0,
            "failed": sum(cell.status in ("failed", "timed-out") for cell in cells),
            "verdict": "" if scores else "no result",
            **blank,
            **more,
        }

    def _teacher_row(self) -> dict[str, Any]:
        own = [record for record in self.teachers if record.identity == self.teacher]
        return self._row(TEACHER_ROW, self._teacher_scores(), own)

    def _teacher_scores(self) -> list[float]:
        """One score for each set of teacher weights that the students met."""
        met = [cell.teacher for cell in (*self.plain, *self.methods) if cell.teacher]
        by_weights = {t.weights_sha256: t.value for t in met if t.identity == self.teacher}
        own = [t.score for t in self.teachers if t.identity == self.teacher and t.score is not None]
        return list(by_weights.values()) or own

    def _plain_row(self) -> dict[str, Any]:
        return self._row(PLAIN, _scores(self._baseline()).values(), self.plain)

    def _baseline(self) -> dict[int, Record]:
        """Seed -> plain student; of several versions of the plugin the latest."""
        return _by_seed(sorted(self.plain, key=lambda cell: (version_order(cell.plugin), cell.identity)))

    def _method_row(self, label: str, cells: Sequence[Record]) -> dict[str, Any]:
        plain, own = self._baseline(), _by_seed(cells)
        scores, baseline = _scores(own), _scores(plain)
        gain = difference(scores, baseline)
        level = mean(baseline[seed] for seed in scores.keys() & baseline.keys())
        return self._row(
            label,
            scores.values(),
            cells,
            shared_seeds=gain.n,
            difference=gain.mean,
            low=gain.low,
            high=gain.high,
            gap_closed=gap_closed(gain.mean, level, mean(self._teacher_scores())),
            time_ratio=_time_ratio(own, plain),
            verdict=gain.verdict if scores else "no result",
        )


def _long_label(key: tuple[str, str, str]) -> str:
    """A label for one of several rows with the same selector."""
    return f"{key[0]} ({key[1]}, options {key[2][:6]})"


def version_order(plugin: str) -> tuple[tuple[int, str], ...]:
    """Sort key of a plugin such as ``name 1.10.0``, by the numbers of its version."""
    parts = plugin.rpartition(" ")[2].split(".")
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in parts)


def _by_seed(cells: Iterable[Record]) -> dict[int, Record]:
    return {cell.seed: cell for cell in cells if cell.done}


def _scores(cells: dict[int, Record]) -> dict[int, float]:
    return {seed: cell.score for seed, cell in cells.items() if cell.score is not None}


def _time_ratio(own: dict[int, Record], plain: dict[int, Record]) -> float:
    """Time of an iteration relative to the plain student's, where both ran on the same kind of machine."""
    same = [seed for seed in own.keys() & plain.keys() if _machine(own[seed]) == _machine(plain[seed])]
    return ratio(_seconds(own, same), _seconds(plain, same))


def _machine(cell: Record) -> tuple[str, str]:
    return cell.device, cell.host_class


def _seconds(cells: dict[int, Record], seeds: Iterable[int]) -> dict[int, float]:
    return {seed: value for seed in seeds if (value := cells[seed].cost.seconds_per_iteration) is not None}
