"""The rankings of a benchmark: of its own cells, with a row for each method that was not run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from kdbench.benchmarks import Benchmark, Cell, options_of
from kdbench.changes import change
from kdbench.errors import UserError
from kdbench.results.board import Ranking
from kdbench.results.commands import command
from kdbench.results.leaderboard import origins, ranked_under, rankings
from kdbench.results.model import RankingModel
from kdbench.results.record import Record
from kdbench.results.row import GROUP, Row
from kdbench.selectors import parse
from kdbench.specs import PLAIN


def benchmark_rankings(benchmark: Benchmark, records: Iterable[Record]) -> list[Ranking]:
    """Return the rankings of a benchmark, with the missing cells counted in each row.

    Raises:
        UserError: If the benchmark has the smoke schedule, which is never ranked.
    """
    if benchmark.schedule == "smoke":
        raise UserError(f"benchmark '{benchmark.title}' has the smoke schedule, which is never ranked.")
    records = list(records)
    asked = {cell.method for cell in benchmark.cells()}
    smoke = [r for r in records if r.kind == "cell" and r.schedule == "smoke" and r.selector in asked]
    smoke = [r for r in smoke if r.dataset == benchmark.dataset and r.pair_name in benchmark.pairs]
    found = rankings([*own_records(benchmark, records), *smoke])
    ranked = {ranking.first["pair"] for ranking in found}
    empty = [without_results(benchmark, pair) for pair in benchmark.pairs if pair not in ranked]
    return [_completed(ranking, benchmark) for ranking in (*found, *empty)]


def own_records(benchmark: Benchmark, records: Iterable[Record]) -> list[Record]:
    """Return the records of a benchmark's cells, and all teachers.

    A cell counts with the options that its selector has today and, of several revisions, the latest.
    """
    records = list(records)
    teachers = [record for record in records if record.kind == "teacher"]
    began_with, latest = origins(teachers), dict[tuple[str, str, str], int]()
    cells = list(_own_cells(benchmark, (record for record in records if record.kind == "cell")))
    keys = [(cell.recipe, ranked_under(cell, began_with), cell.selector) for cell in cells]
    for key, cell in zip(keys, cells, strict=True):
        latest[key] = max(latest.get(key, 0), cell.revision)
    kept = zip(keys, cells, strict=True)
    return [*teachers, *(c for key, c in kept if c.method == PLAIN or c.revision == latest[key])]


def _own_cells(benchmark: Benchmark, records: Iterable[Record]) -> Iterable[Record]:
    """Yield each record of the benchmark's cells, under the benchmark's own selector."""
    cells = set(benchmark.cells())
    changes = [change(setting) for setting in benchmark.set]
    options = {name: options_of(name) for name in dict.fromkeys(cell.method for cell in cells)}
    for record in records:
        if record.dataset != benchmark.dataset or record.schedule != benchmark.kind:
            continue
        if not all(each.is_in(record.spec["pair"]) for each in changes):
            continue
        for selector, own in options.items():
            asked = Cell(record.pair_name, selector, record.seed) in cells
            if asked and record.method == parse(selector)[0] and record.options == own:
                yield record.called(selector)
                break


def without_results(benchmark: Benchmark, pair: str) -> Ranking:
    """Return the ranking of a pair without results: the plain student's row."""
    shared = {"dataset": benchmark.dataset, "pair": pair, "schedule": benchmark.kind, "metric": "score"}
    return Ranking([not_run(shared, PLAIN)], RankingModel({}, {}))


def not_run(row: Mapping[str, str], method: str) -> Row:
    """Return a row without results, with what it shares with another row of its ranking."""
    shared = {name: row.get(name, "") for name in GROUP}
    return Row((), {**shared, "method": method, "verdict": "not run"})


def _completed(ranking: Ranking, benchmark: Benchmark) -> Ranking:
    """Add a row for each method that was not run, and count the missing cells of each row."""
    pair = ranking.first["pair"]
    asked: dict[str, list[int]] = {}
    for cell in benchmark.cells():
        if cell.pair == pair:
            asked.setdefault(cell.method, []).append(cell.seed)
    absent = [not_run(ranking.first, method) for method in asked if ranking.row(method) is None]
    return ranking.with_rows(_counted(row, asked, benchmark) for row in (*ranking.rows, *absent))


def _counted(row: Row, asked: Mapping[str, Sequence[int]], benchmark: Benchmark) -> Row:
    """Count a row's missing cells, and add a command for them if the row has none."""
    seeds = asked.get(row["method"], ())
    known = row["seeds"] + row["failed"] + row["skipped"]
    again = row["command"]
    if seeds and not again:
        again = command(row["method"], benchmark.dataset, row["pair"], seeds, benchmark=benchmark.own_file)
    return row.but(missing=max(0, len(seeds) - known), command=again)
