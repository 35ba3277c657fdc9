"""A paper's ablation, measured here, beside the paper's own numbers: pages written from the records."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd

from kdbench.benchmarks import Benchmark, Cell, load, options_of
from kdbench.errors import UserError
from kdbench.reported import Reported, reported
from kdbench.results.formats import blocks, escape, line, measured, rows, to_csv
from kdbench.results.leaderboard import (
    COLUMNS,
    TEACHER_ROW,
    leaderboard,
    origins,
    ranked_under,
    recipe_of,
)
from kdbench.results.pages import compare_pages, write_pages
from kdbench.results.record import Record
from kdbench.results.statistics import difference, rank_correlation
from kdbench.results.store import Store
from kdbench.specs import PLAIN

NOT_RUN = "not run"
LEGEND = (
    "Measured: scores x100 on the test split after the last iteration; the difference is to the plain student "
    "(none), paired by seed, with its own 95 % t interval; better and worse are Holm-corrected over the variants. "
    "Failed and timed-out runs are counted and never averaged. Paper: the variant's published number less that "
    "of the paper's own plain student, on the paper's models and data."
)
TAGS = "P: read from the paper's table; C: from a public implementation; N: from a reading note or survey."


@dataclass(frozen=True)
class Block:
    """The ablation on one pair, recipe and teacher.

    Attributes:
        heading: Names them.
        rows: Leaderboard rows in the order of the benchmark file, and a column for each published comparison.
        scores: Selector -> seed -> score in [0, 1].
    """

    heading: str
    rows: pd.DataFrame
    scores: Mapping[str, Mapping[int, float]]


def ablation(benchmark: Benchmark, papers: Sequence[Reported], records: Iterable[Record]) -> list[Block]:
    """The ablation of a benchmark, a block for each recipe and teacher that a pair has been run with.

    Only the benchmark's own cells count, with the options that their selectors have now and, of several
    revisions, the latest.

    Args:
        benchmark: As :func:`kdbench.benchmarks.load` gives it.
        papers: The paper's comparisons.
        records: Records of any dataset, in any order.
    """
    cells = current(benchmark, records)
    frame = leaderboard(cells, benchmark.dataset)
    found: list[Block] = []
    for pair in benchmark.pairs:
        ranked = list(blocks(frame[frame["pair"] == pair]))
        ranked = ranked or [(f"{benchmark.dataset}: {pair} ({NOT_RUN})", nothing(benchmark, pair))]
        for heading, block in ranked:
            shown = _complete(block, benchmark, pair, papers)
            found.append(Block(heading, shown, _scores(cells, rows(block)[0])))
    return found


def current(benchmark: Benchmark, records: Iterable[Record]) -> list[Record]:
    """The records that are cells of the benchmark now, and the teachers."""
    wanted = set(benchmark.cells())
    options = {selector: options_of(selector) for selector in {cell.method for cell in wanted}}
    records = list(records)
    teachers = [record for record in records if record.kind == "teacher"]
    cells = [record for record in records if record.kind == "cell" and _is_cell(record, benchmark, wanted)]
    cells = [cell for cell in cells if cell.options == options[cell.selector]]
    began_with, latest = origins(teachers), dict[tuple[str, str, str], int]()
    keys = [(recipe_of(cell), ranked_under(cell, began_with), cell.selector) for cell in cells]
    for key, cell in zip(keys, cells, strict=True):
        latest[key] = max(latest.get(key, 0), cell.revision)
    kept = zip(keys, cells, strict=True)
    return [*teachers, *(c for key, c in kept if c.method == PLAIN or c.revision == latest[key])]


def _is_cell(record: Record, benchmark: Benchmark, wanted: set[Cell]) -> bool:
    cell = Cell(record.pair_name, record.selector, record.seed)
    return cell in wanted and record.dataset == benchmark.dataset and record.schedule == benchmark.schedule


def nothing(benchmark: Benchmark, pair: str) -> pd.DataFrame:
    """The row of the plain student where nothing has been run."""
    blank = {"dataset": benchmark.dataset, "pair": pair, "schedule": benchmark.schedule, "metric": "score"}
    frame: pd.DataFrame = pd.DataFrame([not_run(blank, PLAIN)], columns=list(COLUMNS)).astype(COLUMNS)
    return frame


def not_run(row: Mapping[str, Any], method: str) -> dict[str, Any]:
    """A row like another one of its block, without a result."""
    kinds = {"str": "", "int64": 0, "float64": math.nan}
    blank: dict[str, Any] = {column: kinds[kind] for column, kind in COLUMNS.items()}
    same = ("dataset", "pair", "schedule", "recipe", "teacher", "metric")
    return {**blank, **{key: row.get(key, "") for key in same}, "method": method, "verdict": NOT_RUN}


def _complete(
    block: pd.DataFrame, benchmark: Benchmark, pair: str, papers: Sequence[Reported]
) -> pd.DataFrame:
    """Every row that the benchmark asks for, in its order, and the paper's differences."""
    by_method = {row["method"]: row for row in rows(block)}
    first = rows(block)[0]
    asked = dict.fromkeys(cell.method for cell in benchmark.cells() if cell.pair == pair)
    teacher = by_method.get(TEACHER_ROW)
    shown = [teacher] if teacher and (teacher["seeds"] or teacher["failed"]) else []
    shown += [by_method.get(method) or not_run(first, method) for method in asked]
    frame: pd.DataFrame = pd.DataFrame(shown, columns=list(COLUMNS)).astype(COLUMNS)
    for paper in papers:
        frame[f"paper: {paper.label}"] = [
            str(paper.differences.get(method, "")) for method in frame["method"]
        ]
    return frame


def _scores(records: Sequence[Record], row: Mapping[str, Any]) -> dict[str, dict[int, float]]:
    """Scores of the cells that are in the block of ``row``."""
    began_with = origins(record for record in records if record.kind == "teacher")
    scores: dict[str, dict[int, float]] = {}
    for cell in records:
        if cell.kind != "cell" or cell.pair_name != row["pair"] or cell.score is None:
            continue
        if recipe_of(cell)[:12] == row["recipe"] and ranked_under(cell, began_with)[:12] == row["teacher"]:
            scores.setdefault(cell.selector, {})[cell.seed] = cell.score
    return scores


def agreement(block: Block, paper: Reported) -> str:
    """A sentence: whether the measured order of the variants is the paper's, and how far the seeds carry it."""
    pairs = {
        row["method"]: (row["difference"], float(paper.differences[row["method"]]))
        for row in rows(block.rows)
        if row["method"] in paper.differences and not math.isnan(row["difference"])
    }
    n, start = len(pairs), f"Order against {paper.label}:"
    tau, chance = rank_correlation(*zip(*pairs.values(), strict=True)) if n > 1 else (math.nan, math.nan)
    if math.isnan(tau):
        return f"{start} cannot be told from n = {n} of the variants with both numbers."
    word = "agrees" if tau > 0 else "disagrees" if tau < 0 else "neither agrees nor disagrees"
    apart, all_pairs = _told_apart(block.scores, list(pairs))
    return (
        f"{start} {word}, by the sign of Kendall's tau {tau:+.2f} over n = {n} variants "
        f"(a random order gives one as far from 0 with p = {chance:.2f}). Noise: the measured seeds tell "
        f"{apart} of {all_pairs} pairs of these variants apart (95 % interval of their paired difference); "
        "the order within the other pairs may be chance."
    )


def _told_apart(scores: Mapping[str, Mapping[int, float]], methods: Sequence[str]) -> tuple[int, int]:
    """Pairs of methods whose paired difference is evidence, and all pairs."""
    verdicts = [difference(scores[a], scores[b]).verdict for a, b in combinations(methods, 2)]
    return sum(verdict in ("better", "worse") for verdict in verdicts), len(verdicts)


def page(benchmark: Benchmark, papers: Sequence[Reported], found: Sequence[Block], again: str) -> str:
    """The markdown page of an ablation; ``again`` is the command that runs its cells."""
    parts = [f"# {escape(benchmark.title)}", LEGEND, f"The cells again: `{again}`"]
    for block in found:
        parts += [f"## {escape(block.heading)}", _table(block.rows)]
        parts.append("\n".join(f"- {escape(agreement(block, paper))}" for paper in papers))
    parts += ["## The paper's numbers", "\n".join(f"- {escape(paper.origin)}" for paper in papers), TAGS]
    return "\n\n".join(parts) + "\n"


def _table(frame: pd.DataFrame) -> str:
    labels = [str(name) for name in frame.columns if name not in COLUMNS]
    metric = str(frame["metric"].iloc[0])
    titles = ["method", "seeds", metric, "std", "vs plain", "95 % interval", "failed", "verdict", *labels]
    align = ["---", *["---:"] * 6, "---", *["---:"] * len(labels)]
    lines = [line([escape(title) for title in titles]), line(align)]
    return "\n".join([*lines, *(line([escape(cell) for cell in _cells(row, labels)]) for row in rows(frame))])


def _cells(row: dict[str, Any], labels: Sequence[str]) -> list[str]:
    signed = [row[label] if row[label][:1] in ("", "-") else f"+{row[label]}" for label in labels]
    return [
        *measured(row),
        str(row["failed"]) if row["failed"] else "",
        row["verdict"],
        *signed,
    ]


def write_ablations(files: Iterable[Path], results: Path) -> list[Path]:
    """Write ``ablations/<file's stem>.md`` and ``.csv`` from the records under ``results``; the files, sorted.

    Raises:
        UserError: For a bad benchmark file, or when a page cannot be written.
    """
    return write_pages(_expected(files, results))


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
        if benchmark.paper is None:
            raise UserError(f"{file}: paper: an ablation needs it.")
        papers = reported(benchmark, str(file))
        found = ablation(benchmark, papers, records)
        base = results / "ablations" / file.stem
        again = f"kdbench sweep benchmarks/ablations/{file.name}"
        expected[base.with_suffix(".md")] = page(benchmark, papers, found, again)
        expected[base.with_suffix(".csv")] = to_csv(pd.concat([block.rows for block in found]))
    return expected
