"""The rankings of a frame with the records behind each row: what every plot begins with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from kdbench.results.board import key_of, latest_last, long_label
from kdbench.results.formats import rows
from kdbench.results.leaderboard import (
    GROUP,
    TEACHER_ROW,
    origins,
    ranked_under,
    recipe_of,
)
from kdbench.results.record import Record
from kdbench.results.statistics import mean
from kdbench.specs import PLAIN

MOST = 40
"""Rows that a plot shows at most, the first of the ranking; the table has all."""


@dataclass(frozen=True)
class Ranking:
    """One ranking: a pair, recipe and teacher.

    Attributes:
        frame: Its rows, as :func:`kdbench.results.leaderboard.leaderboard` gives them.
        cells: Row label -> seed -> done record; :data:`PLAIN` is the plain student.
    """

    frame: pd.DataFrame
    cells: Mapping[str, Mapping[int, Record]]

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """All rows as dicts by column."""
        return rows(self.frame)

    @cached_property
    def methods(self) -> list[dict[str, Any]]:
        """The rows that are methods, in rank order: without the teacher and the plain student."""
        return [row for row in self.rows if row["method"] not in (TEACHER_ROW, PLAIN)]

    @property
    def first(self) -> Mapping[str, Any]:
        """A row, for what all rows share: dataset, pair, schedule, recipe, teacher, metric."""
        return self.rows[0]

    @property
    def metric(self) -> str:
        """Name of the metric that ranks."""
        return str(self.first["metric"])

    def level(self, method: str) -> float:
        """Mean score of the teacher or the plain student, in [0, 1]; NaN where there is none."""
        return mean(row["mean"] for row in self.rows if row["method"] == method)

    def differences(self, method: str, metric: str | None = None) -> list[float]:
        """Differences to the plain student in each shared seed, as fractions.

        Args:
            method: Label of the row.
            metric: A metric after the last iteration; default: the one that ranks.
        """
        name = metric or self.metric
        own, plain = (self.values(who, name) for who in (method, PLAIN))
        return [own[seed] - plain[seed] for seed in sorted(own.keys() & plain.keys())]

    def values(self, method: str, metric: str) -> dict[int, float]:
        """Seed -> metric after the last iteration, where it was measured."""
        return {
            seed: record.metrics.last[metric]
            for seed, record in self.cells.get(method, {}).items()
            if record.metrics is not None and metric in record.metrics.last
        }


def rankings(frame: pd.DataFrame, records: Iterable[Record]) -> list[Ranking]:
    """The rankings of a frame, in its order, with the done records behind each row.

    Args:
        frame: Leaderboards of one or several datasets.
        records: What the frame was made from, in any order.
    """
    records = list(records)
    began_with = origins(record for record in records if record.kind == "teacher")
    found: dict[tuple[str, ...], list[Record]] = defaultdict(list)
    plain: dict[tuple[str, ...], list[Record]] = defaultdict(list)
    for cell in records:
        if cell.kind == "cell" and cell.done:
            key: tuple[str, ...] = (
                cell.dataset,
                cell.pair_name,
                cell.schedule,
                recipe_of(cell)[:12],
                cell.metric,
            )
            if cell.method == PLAIN:
                plain[key].append(cell)
            else:
                under = (*key, ranked_under(cell, began_with)[:12])
                found[under].append(cell)
    result = []
    for _, block in frame.groupby(GROUP, sort=False):
        row = rows(block)[0]
        key = tuple(str(row[name]) for name in ("dataset", "pair", "schedule", "recipe", "metric"))
        under = (*key, str(row["teacher"]))
        result.append(Ranking(block, _by_label(block, plain[key], found[under])))
    return result


def _by_label(
    block: pd.DataFrame, plain: Sequence[Record], methods: Sequence[Record]
) -> dict[str, dict[int, Record]]:
    labels = set(block["method"])
    cells: dict[str, dict[int, Record]] = defaultdict(dict)
    for cell in latest_last(plain):
        cells[PLAIN][cell.seed] = cell
    for cell in sorted(methods, key=lambda cell: cell.identity):
        label = cell.selector if cell.selector in labels else long_label(key_of(cell))
        cells[label][cell.seed] = cell
    return dict(cells)
