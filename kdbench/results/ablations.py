"""A paper's ablation, measured here, beside the paper's own numbers: pages written from the records."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from kdbench.benchmarks import Benchmark, Cell, load, options_of
from kdbench.changes import change
from kdbench.reported import Reported, reported
from kdbench.results.board import Ranking
from kdbench.results.formats import measured, to_csv
from kdbench.results.leaderboard import origins, ranked_under, rankings
from kdbench.results.model import RankingModel
from kdbench.results.pages import compare_pages, write_pages
from kdbench.results.papers import TAGS
from kdbench.results.record import Record
from kdbench.results.row import GROUP, TEACHER_ROW, Row
from kdbench.results.statistics import ALPHA, rank_correlation
from kdbench.results.store import Store
from kdbench.results.table import Table, escape
from kdbench.selectors import parse
from kdbench.specs import PLAIN

NOT_RUN = "not run"
LEGEND = (
    "Measured: scores x100 on the test split after the last iteration; the difference is to the plain student "
    "(none), paired by seed, with a 95 % interval that holds for all variants at once (Dunnett). "
    "Failed and timed-out runs are counted and never averaged. Paper: the variant's published number less that "
    "of the paper's own plain student, on the paper's models and data."
)


def ablation(benchmark: Benchmark, papers: Sequence[Reported], records: Iterable[Record]) -> list[Ranking]:
    """Return the ablation of a benchmark, a ranking for each recipe and teacher that a pair has been run with.

    Its rows stand in the order of the benchmark file, and have a column for each published comparison. Only the
    benchmark's own cells count, with the options that their selectors have now and, of several revisions,
    the latest.

    Args:
        benchmark: As :func:`kdbench.benchmarks.load` gives it.
        papers: The paper's comparisons.
        records: Records of any dataset, in any order.
    """
    found = rankings(current(benchmark, records))
    return [
        _complete(ranking, benchmark, papers)
        for pair in benchmark.pairs
        for ranking in [one for one in found if one.first["pair"] == pair] or [nothing(benchmark, pair)]
    ]


def current(benchmark: Benchmark, records: Iterable[Record]) -> list[Record]:
    """Return the records that are cells of the benchmark now, and the teachers."""
    wanted = _Wanted(benchmark)
    records = list(records)
    teachers = [record for record in records if record.kind == "teacher"]
    found = [wanted.cell(record) for record in records if record.kind == "cell"]
    cells = [cell for cell in found if cell is not None]
    began_with, latest = origins(teachers), dict[tuple[str, str, str], int]()
    keys = [(cell.recipe, ranked_under(cell, began_with), cell.selector) for cell in cells]
    for key, cell in zip(keys, cells, strict=True):
        latest[key] = max(latest.get(key, 0), cell.revision)
    kept = zip(keys, cells, strict=True)
    return [*teachers, *(c for key, c in kept if c.method == PLAIN or c.revision == latest[key])]


class _Wanted:
    """The cells of a benchmark, as its selectors are meant now.

    Args:
        benchmark: The benchmark.
    """

    def __init__(self, benchmark: Benchmark) -> None:
        self.benchmark, self.cells = benchmark, set(benchmark.cells())
        self.changes = [change(setting) for setting in benchmark.set]
        self.options = {name: options_of(name) for name in dict.fromkeys(cell.method for cell in self.cells)}

    def cell(self, record: Record) -> Record | None:
        """Return a record under the benchmark's own selector; None where it is none of the benchmark's cells."""
        benchmark = self.benchmark
        if record.dataset != benchmark.dataset or record.schedule != benchmark.kind:
            return None
        if not all(each.is_in(record.spec["pair"]) for each in self.changes):
            return None
        for selector, options in self.options.items():
            cell = Cell(record.pair_name, selector, record.seed)
            if record.method == parse(selector)[0] and record.options == options and cell in self.cells:
                return record.called(selector)
        return None


def nothing(benchmark: Benchmark, pair: str) -> Ranking:
    """Return the ranking of a pair of which nothing has been run: the plain student's row."""
    blank = {"dataset": benchmark.dataset, "pair": pair, "schedule": benchmark.kind, "metric": "score"}
    return Ranking([not_run(blank, PLAIN)], RankingModel({}, {}))


def not_run(row: Mapping[str, Any], method: str) -> Row:
    """Return a row like another one of its ranking, without a result."""
    same = {name: row.get(name, "") for name in GROUP}
    return Row((), {**same, "method": method, "verdict": NOT_RUN})


def _complete(ranking: Ranking, benchmark: Benchmark, papers: Sequence[Reported]) -> Ranking:
    """Every row that the benchmark asks for, in its order, and the paper's differences."""
    pair, teacher = ranking.first["pair"], ranking.row(TEACHER_ROW)
    asked = dict.fromkeys(cell.method for cell in benchmark.cells() if cell.pair == pair)
    rows = [teacher] if teacher and (teacher["seeds"] or teacher["failed"]) else []
    rows += [ranking.row(method) or not_run(ranking.first, method) for method in asked]
    return ranking.with_rows(row.but(**_published(row, papers)) for row in rows)


def _published(row: Row, papers: Sequence[Reported]) -> dict[str, str]:
    return {_column(paper): str(paper.differences.get(row["method"], "")) for paper in papers}


def _column(paper: Reported) -> str:
    return f"paper: {paper.label}"


def agreement(ranking: Ranking, paper: Reported) -> str:
    """Return a sentence: whether the measured order of the variants agrees with the paper's, or cannot tell."""
    pairs = {
        row["method"]: (row["difference"], float(paper.differences[row["method"]]))
        for row in ranking.rows
        if row["method"] in paper.differences and not math.isnan(row["difference"])
    }
    n, start = len(pairs), f"Order against {paper.label}:"
    tau, chance = rank_correlation(*zip(*pairs.values(), strict=True)) if n > 1 else (math.nan, math.nan)
    if math.isnan(tau):
        return f"{start} cannot tell from n = {n} of the variants with both numbers."
    word = "cannot tell" if not chance < ALPHA else "agrees" if tau > 0 else "disagrees"
    apart, all_pairs = _told_apart(ranking, list(pairs))
    return (
        f"{start} {word} (Kendall's tau {tau:+.2f} over n = {n} variants, p = {chance:.2f}). The measured seeds "
        f"tell {apart} of {all_pairs} pairs of these variants apart (95 % interval of each difference, pooled)."
    )


def _told_apart(ranking: Ranking, methods: Sequence[str]) -> tuple[int, int]:
    """Pairs of methods whose difference is evidence, and all pairs."""
    found = [ranking.pair(*pair) for pair in combinations(methods, 2)]
    return sum(one is not None and one.verdict in ("better", "worse") for one in found), len(found)


def page(benchmark: Benchmark, papers: Sequence[Reported], found: Sequence[Ranking], again: str) -> str:
    """Return the markdown page of an ablation; ``again`` is the command that runs its cells."""
    parts = [f"# {escape(benchmark.title)}", LEGEND, f"The cells again: `{again}`"]
    for ranking in found:
        parts.append(_table(ranking, papers).markdown())
        parts += ["\n".join(f"- {escape(agreement(ranking, paper))}" for paper in papers)] * bool(papers)
    if papers:
        parts += ["## The paper's numbers", "\n".join(f"- {escape(paper.origin)}" for paper in papers), TAGS]
    return "\n\n".join(parts) + "\n"


def _table(ranking: Ranking, papers: Sequence[Reported]) -> Table:
    titles = ["method", "seeds", ranking.metric, "std", "vs plain", "95 % interval", "failed", "verdict"]
    columns = list(map(_column, papers))
    cells = [_cells(row, columns) for row in ranking.rows]
    return Table([*titles, *columns], cells, f"lrrrrrrl{'r' * len(columns)}", ranking.heading)


def _cells(row: Row, columns: Sequence[str]) -> list[str]:
    signed = [row[name] if row[name][:1] in ("", "-") else f"+{row[name]}" for name in columns]
    return [*measured(row), str(row["failed"]) if row["failed"] else "", row["verdict"], *signed]


def write_ablations(files: Iterable[Path], results: Path) -> list[Path]:
    """Write ``ablations/<file's stem>.md`` and ``.csv`` from the records under ``results``; the files, sorted.

    Raises:
        UserError: For a bad benchmark file, or when a page cannot be written.
    """
    return sorted(write_pages(_expected(files, results)))


def check_ablations(files: Iterable[Path], results: Path) -> list[str]:
    """One line for each page under ``results/ablations`` that is missing, differs or belongs to no file.

    Raises:
        UserError: For a bad benchmark file.
    """
    there = {path for path in (results / "ablations").glob("*") if path.suffix in (".md", ".csv")}
    return compare_pages(_expected(files, results), there)


def _expected(files: Iterable[Path], results: Path) -> dict[Path, str]:
    records, _ = Store(results).records()
    expected: dict[Path, str] = {}
    for file in files:
        benchmark = load(file)
        papers = reported(benchmark, str(file))
        found = ablation(benchmark, papers, records)
        base = results / "ablations" / file.stem
        again = f"kdbench sweep benchmarks/ablations/{file.name}"
        expected[base.with_suffix(".md")] = page(benchmark, papers, found, again)
        expected[base.with_suffix(".csv")] = to_csv(found, list(map(_column, papers)))
    return expected
