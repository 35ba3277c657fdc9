"""Ablations of papers, measured here and beside the papers' own numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path

from kdbench.benchmarks import Benchmark, load
from kdbench.reported import Reported, reported
from kdbench.results.benchmark_rankings import not_run, own_records, without_results
from kdbench.results.board import Ranking
from kdbench.results.formats import score_cells, to_csv
from kdbench.results.leaderboard import rankings
from kdbench.results.papers import TAGS
from kdbench.results.record import Record
from kdbench.results.row import TEACHER_ROW, Row
from kdbench.results.statistics import ALPHA, rank_correlation
from kdbench.results.store import Store
from kdbench.results.table import Table, escape

ABLATION_LEGEND = (
    "Measured: scores x100 on the test split after the last iteration; the difference is to the plain student "
    "(none), paired by seed, with a 95 % interval that holds for all variants at once (Dunnett). "
    "Failed and timed-out runs are counted and never averaged. Paper: the variant's published number less that "
    "of the paper's own plain student, on the paper's models and data."
)


def ablation(benchmark: Benchmark, papers: Sequence[Reported], records: Iterable[Record]) -> list[Ranking]:
    """Return the ablation of a benchmark: a ranking for each recipe and teacher with which a pair was run.

    Rows are in the order of the benchmark file, and have a column for each published comparison. Only the
    benchmark's own cells count (:func:`kdbench.results.benchmark_rankings.own_records`).

    Args:
        benchmark: A benchmark whose selectors are looked up.
        papers: The paper's comparisons.
        records: Records of any dataset, in any order.
    """
    found = rankings(own_records(benchmark, records))
    return [
        _complete(ranking, benchmark, papers)
        for pair in benchmark.pairs
        for ranking in [one for one in found if one.first["pair"] == pair]
        or [without_results(benchmark, pair)]
    ]


def _complete(ranking: Ranking, benchmark: Benchmark, papers: Sequence[Reported]) -> Ranking:
    """Return a ranking with the rows that the benchmark asks for, in its order, and the paper's differences."""
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
    """Say whether the measured order of the variants agrees with the paper's."""
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
    """Return the number of pairs of methods whose difference is evidence, and of all pairs."""
    found = [ranking.pair(*pair) for pair in combinations(methods, 2)]
    return sum(one is not None and one.verdict in ("better", "worse") for one in found), len(found)


def ablation_page(
    benchmark: Benchmark, papers: Sequence[Reported], found: Sequence[Ranking], again: str
) -> str:
    """Return the markdown page of an ablation, with the command that runs its cells."""
    parts = [f"# {escape(benchmark.title)}", ABLATION_LEGEND, f"The cells again: `{again}`"]
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
    return [*score_cells(row), str(row["failed"]) if row["failed"] else "", row["verdict"], *signed]


def ablation_files(files: Iterable[Path], results: Path) -> dict[Path, str]:
    """Return ``ablations/<stem>.csv`` and ``.md`` under a results folder for each benchmark file, with their texts.

    Raises:
        UserError: If a benchmark file is bad.
    """
    records, _ = Store(results).records()
    written: dict[Path, str] = {}
    for file in files:
        benchmark = load(file)
        papers = reported(benchmark, str(file))
        found = ablation(benchmark, papers, records)
        base = results / "ablations" / file.stem
        again = f"kdbench sweep benchmarks/ablations/{file.name}"
        written[base.with_suffix(".csv")] = to_csv(found, list(map(_column, papers)))
        written[base.with_suffix(".md")] = ablation_page(benchmark, papers, found, again)
    return written
