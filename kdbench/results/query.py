"""Leaderboards of datasets and benchmark files, with chosen methods and sorted by a column."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from kdbench.benchmarks import load
from kdbench.dataset_cards import METRICS
from kdbench.errors import UserError
from kdbench.plugins import registry, suggestion
from kdbench.results.benchmark_rankings import benchmark_rankings, own_records
from kdbench.results.board import Ranking
from kdbench.results.derived import low_first, with_derived
from kdbench.results.naming import fits, method_in
from kdbench.results.pages import boards
from kdbench.results.record import Record
from kdbench.results.row import COLUMNS, METRIC, TEACHER_ROW, Row

BENCHMARK = (".yaml", ".yml")
SCORES = {"mean", "best"}
HIGH_FIRST = {*SCORES, "std", "difference", "low", "high", "gap_closed", "relative_gain", "paper_difference"}

Boards = dict[str, list[Ranking]]
"""Name of a dataset, or stem of a benchmark file -> its rankings."""


class Source(NamedTuple):
    """A leaderboard and its records.

    Attributes:
        benchmark: Title of the benchmark that it is restricted to; blank for a dataset.
        rankings: The leaderboard.
        records: The records of its cells, or all records of the dataset.
    """

    benchmark: str
    rankings: Sequence[Ranking]
    records: Sequence[Record]


def query(
    targets: Sequence[str],
    records: Sequence[Record],
    *,
    methods: Sequence[str] = (),
    sort: str | None = None,
) -> Boards:
    """Return the leaderboards of targets; one without a ranking is left out.

    Args:
        targets: Names of datasets and paths of benchmark files; all datasets by default.
        records: Of any dataset, in any order.
        methods: Selectors to show, or names of methods for all of their selectors; default: all. The teacher, the
            plain student and its controls are always shown, and p values are corrected over all rows of a ranking.
        sort: Column to sort each ranking by; default: its rank.

    Raises:
        UserError: For a bad benchmark file, an unknown dataset, method or column.
    """
    found = {name: list(source.rankings) for name, source in sources(targets, records).items()}
    chosen = _chosen(found, methods) if methods else found
    if sort is None:
        return chosen
    return {name: [sorted_by(one, _column(sort, one)) for one in board] for name, board in chosen.items()}


def sources(targets: Sequence[str], records: Sequence[Record]) -> dict[str, Source]:
    """Return the leaderboards of targets with their records; see :func:`query`."""
    found: dict[str, Source] = {}
    records = with_derived(records)
    for target in targets or (None,):
        made = _made(target, records)
        twice = found.keys() & made.keys()
        if twice:
            raise UserError(f"'{min(twice)}' is asked for twice: name each dataset and benchmark once.")
        found |= made
    return found


def _made(target: str | None, records: Sequence[Record]) -> dict[str, Source]:
    if target is None or not target.endswith(BENCHMARK):
        if target is not None and not any(record.dataset == target for record in records):
            _require_dataset(target)
        return {
            name: Source("", board, [record for record in records if record.dataset == name])
            for name, board in boards(records, target).items()
        }
    benchmark = load(Path(target))
    board = benchmark_rankings(benchmark, records)
    return {Path(target).stem: Source(benchmark.title, board, own_records(benchmark, records))}


def nothing_to_rank(root: Path, records: Sequence[Record], dataset: str | None = None) -> UserError:
    """Return the error that records have no ranking, with the command that changes it.

    Args:
        root: The results folder.
        records: Its records, those of the dataset if one is named.
        dataset: The dataset whose rankings are asked for, if it is one.

    Raises:
        UserError: If the dataset has no records and is unknown.
    """
    if dataset is not None and not records:
        _require_dataset(dataset)
    what = f"no records of '{dataset}'" if dataset else "no records"
    if records:
        what = "only smoke runs or teachers, which are never ranked,"
    again = f"kdbench run --method mimic --dataset {dataset or 'digits'}"
    return UserError(f"{what} in {root}: make some with `{again}`.")


def _require_dataset(name: str) -> None:
    """Raise UserError if a name is not a dataset's; name the pair's or the nearest dataset."""
    pair = registry().pairs.get(name)
    if pair is not None:
        raise UserError(
            f"'{name}' is a pair: its rankings are among those of dataset '{pair.value.dataset}'."
        )
    registry().dataset(name)


def _chosen(found: Boards, methods: Sequence[str]) -> Boards:
    """Return the leaderboards with the chosen methods only; those without any are left out."""
    rows = [row for ranking in chain(*found.values()) for row in ranking.rows if row["method"] != TEACHER_ROW]
    labels = {row["method"] for row in rows}
    names = {label: method_in(label) for label in labels}
    kept = set[str]()
    for method in methods:
        fitting = {label for label in labels if method in (label, names[label])}
        fitting = fitting or {row["method"] for row in rows if any(fits(method, cell) for cell in row.cells)}
        if not fitting:
            raise UserError(f"no row is named '{method}'.{suggestion(method, labels | set(names.values()))}")
        kept |= fitting
    restricted = {name: [_with_methods(one, kept) for one in board] for name, board in found.items()}
    some = {name: [one for one in board if one.methods] for name, board in restricted.items()}
    return {name: board for name, board in some.items() if board}


def _with_methods(ranking: Ranking, kept: set[str]) -> Ranking:
    return ranking.with_rows(row for row in ranking.rows if row.is_reference or row["method"] in kept)


def _column(name: str, ranking: Ranking) -> str:
    """Return the column with a name or heading; raise UserError if there is none."""
    metrics = dict.fromkeys((*METRICS, ranking.metric), "mean")
    headings = {**metrics, "vs plain": "difference", "time": "time_ratio"}
    known = {*COLUMNS, *chain(*ranking.rows), *headings}
    if name not in known:
        raise UserError(f"no column '{name}' to sort by.{suggestion(name, known)}")
    return headings.get(name, name)


def sorted_by(ranking: Ranking, column: str) -> Ranking:
    """Return a ranking sorted by a column, under its teacher and plain student.

    Scores and differences are sorted from best to worst, others from low to high; blanks are last, and equal rows
    in the order of their rank.
    """
    high = column in HIGH_FIRST or column.startswith(METRIC)
    if column.removeprefix(METRIC) in low_first() or (column in SCORES and ranking.sign < 0):
        high = False

    def place(row: Row) -> tuple[bool, Any]:
        value = row.get(column, math.nan)
        if value != value:
            return True, 0
        return False, value if isinstance(value, str) or not high else -value

    fixed = [row for row in ranking.rows if row.is_reference]
    return ranking.with_rows([*fixed, *sorted(ranking.methods, key=place)])
