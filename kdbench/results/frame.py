"""The frame that all formats show: leaderboards of datasets or benchmark files, chosen and sorted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from kdbench.benchmarks import Benchmark, load
from kdbench.errors import UserError
from kdbench.plugins import suggestion
from kdbench.results.ablations import current, not_run, nothing
from kdbench.results.columns import GROUP, METRIC, TEACHER_ROW
from kdbench.results.commands import command
from kdbench.results.derived import low_first, with_derived
from kdbench.results.formats import rows
from kdbench.results.leaderboard import leaderboard
from kdbench.results.pages import boards
from kdbench.results.record import Record
from kdbench.specs import PLAIN

BENCHMARK = (".yaml", ".yml")
HIGH_FIRST = {
    "mean",
    "std",
    "difference",
    "low",
    "high",
    "gap_closed",
    "relative_gain",
    "best",
    "paper_difference",
}


class Source(NamedTuple):
    """A leaderboard and what it was made from.

    Attributes:
        benchmark: Title of the benchmark that it is restricted to; blank for a dataset.
        frame: The leaderboard.
        records: Those of its cells; for a dataset, records of others may be among them.
    """

    benchmark: str
    frame: pd.DataFrame
    records: Sequence[Record]


def frames(
    targets: Sequence[str],
    records: Sequence[Record],
    *,
    methods: Sequence[str] = (),
    sort: str | None = None,
    bootstrap: bool = False,
) -> dict[str, pd.DataFrame]:
    """Name of a dataset or a benchmark file's stem -> its leaderboard; without anything to rank it is not there.

    Args:
        targets: Names of datasets and paths of benchmark files; all datasets by default.
        records: Of any dataset, in any order.
        methods: Selectors to show, or names of methods for all of their selectors; default: all. The teacher and
            the plain student stay, and p values are still corrected over all rows of a ranking.
        sort: Column to sort each ranking by; default: its rank.
        bootstrap: Add bootstrap intervals.

    Raises:
        UserError: For a bad benchmark file, an unknown method or an unknown column.
    """
    made = sources(targets, records, bootstrap=bootstrap)
    return shown({name: source.frame for name, source in made.items()}, methods, sort)


def shown(
    found: Mapping[str, pd.DataFrame], methods: Sequence[str], sort: str | None
) -> dict[str, pd.DataFrame]:
    """Leaderboards with the methods chosen and sorted, as :func:`frames` says."""
    chosen = _chosen(found, methods)
    return chosen if sort is None else {name: ordered(frame, sort) for name, frame in chosen.items()}


def sources(
    targets: Sequence[str], records: Sequence[Record], *, bootstrap: bool = False
) -> dict[str, Source]:
    """The leaderboards of :func:`frames`, which takes the same, with what each was made from."""
    found: dict[str, Source] = {}
    records = with_derived(records)
    for target in targets or (None,):
        made = _made(target, records, bootstrap)
        twice = found.keys() & made.keys()
        if twice:
            raise UserError(f"'{min(twice)}' is asked for twice: name each dataset and benchmark once.")
        found |= made
    return found


def _made(target: str | None, records: Sequence[Record], bootstrap: bool) -> dict[str, Source]:
    if target is None or not target.endswith(BENCHMARK):
        found = boards(records, target, bootstrap=bootstrap)
        return {name: Source("", frame, records) for name, frame in found.items()}
    benchmark = load(Path(target))
    board = of_benchmark(benchmark, records, bootstrap=bootstrap)
    return {Path(target).stem: Source(benchmark.title, board, current(benchmark, records))}


def whole(targets: Sequence[str], records: Sequence[Record], **choice: Any) -> pd.DataFrame:
    """The leaderboards of :func:`frames`, which takes the same, in one frame; it may have no row."""
    found = list(frames(targets, records, **choice).values())
    joined: pd.DataFrame = pd.concat(found or [leaderboard([], "")], ignore_index=True)
    return joined


def whole_of(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The leaderboard of a dataset from those of parts of its pairs, as if they had been ranked at once."""
    joined: pd.DataFrame = pd.concat(parts, ignore_index=True)
    known = [name for name in joined.columns if name in parts[0].columns and not str(name).startswith(METRIC)]
    secondary = sorted(set(joined.columns) - set(known))
    whole: pd.DataFrame = joined[[*known, *secondary]].sort_values("pair", kind="stable", ignore_index=True)
    return whole


def of_benchmark(benchmark: Benchmark, records: Iterable[Record], *, bootstrap: bool = False) -> pd.DataFrame:
    """The leaderboard of a benchmark's own cells: every method that it asks for, also those that were not run.

    Raises:
        UserError: For a benchmark of the smoke schedule, which is never ranked.
    """
    if benchmark.schedule == "smoke":
        raise UserError(f"benchmark '{benchmark.title}' has the smoke schedule, which is never ranked.")
    records = list(records)
    asked = {cell.method for cell in benchmark.cells()}
    smoke = [r for r in records if r.kind == "cell" and r.schedule == "smoke" and r.selector in asked]
    smoke = [record for record in smoke if record.pair_name in benchmark.pairs]
    frame = leaderboard([*current(benchmark, records), *smoke], benchmark.dataset, bootstrap=bootstrap)
    empty = [nothing(benchmark, pair) for pair in benchmark.pairs if pair not in set(frame["pair"])]
    found = [block for _, block in frame.groupby(GROUP, sort=False)]
    parts = [_completed(block, benchmark) for block in (*found, *empty)]
    whole: pd.DataFrame = pd.concat(parts, ignore_index=True)
    return whole


def _completed(block: pd.DataFrame, benchmark: Benchmark) -> pd.DataFrame:
    """A ranking with a row for what was not run, and the missing cells of each row counted."""
    first, pair = rows(block)[0], block["pair"].iloc[0]
    asked: dict[str, list[int]] = {}
    for cell in benchmark.cells():
        if cell.pair == pair:
            asked.setdefault(cell.method, []).append(cell.seed)
    absent = [not_run(first, method) for method in asked if method not in set(block["method"])]
    added = pd.DataFrame(absent, columns=block.columns).astype(block.dtypes.to_dict())
    whole: pd.DataFrame = pd.concat([block, added]) if absent else block.copy()
    there = whole["seeds"] + whole["failed"] + whole["skipped"]
    whole["missing"] = [
        max(0, len(asked.get(method, ())) - known)
        for method, known in zip(whole["method"], there, strict=True)
    ]
    whole["command"] = [
        told or (command(method, benchmark.dataset, pair, asked[method]) if method in asked else "")
        for method, told in zip(whole["method"], whole["command"], strict=True)
    ]
    return whole


def _chosen(found: Mapping[str, pd.DataFrame], methods: Sequence[str]) -> dict[str, pd.DataFrame]:
    if not methods:
        return dict(found)
    labels = {label for frame in found.values() for label in frame["method"]} - {TEACHER_ROW}
    names = {label: _selector(label).partition("[")[0] for label in labels}
    kept = {TEACHER_ROW, PLAIN}
    for method in methods:
        fitting = {label for label in labels if method in (label, _selector(label), names[label])}
        if not fitting:
            raise UserError(f"no row is '{method}'.{suggestion(method, labels | set(names.values()))}")
        kept |= fitting
    restricted = {name: _with_methods(frame, kept) for name, frame in found.items()}
    return {name: frame for name, frame in restricted.items() if not frame.empty}


def _selector(label: str) -> str:
    """The selector in a row's label, which may go on with the plugin's version in parentheses."""
    return label.partition(" (")[0]


def _with_methods(frame: pd.DataFrame, kept: set[str]) -> pd.DataFrame:
    """The kept rows of the rankings that have one besides the teacher and the plain student."""
    some = frame[~frame["method"].isin([TEACHER_ROW, PLAIN]) & frame["method"].isin(kept)]
    keys = set(map(tuple, some[GROUP].to_numpy().tolist()))
    inside = [tuple(key) in keys for key in frame[GROUP].to_numpy().tolist()]
    rest: pd.DataFrame = frame[pd.Series(inside, index=frame.index, dtype=bool) & frame["method"].isin(kept)]
    return rest


def ordered(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    """Each ranking sorted by a column, below its teacher and plain student.

    Scores and gains go from high to low, others from low to high, blanks last, equals in the order of their rank.

    Raises:
        UserError: For an unknown column.
    """
    if column not in frame.columns:
        raise UserError(f"no column '{column}' to sort by.{suggestion(column, map(str, frame.columns))}")
    secondary = column.startswith(METRIC) and column.removeprefix(METRIC) not in low_first()
    high = column in HIGH_FIRST or secondary
    parts = []
    for _, block in frame.groupby(GROUP, sort=False):
        fixed = block["method"].isin([TEACHER_ROW, PLAIN])
        parts += [block[fixed], block[~fixed].sort_values(column, ascending=not high, kind="stable")]
    whole: pd.DataFrame = pd.concat(parts, ignore_index=True)
    return whole
