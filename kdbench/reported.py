"""The published differences of an ablation's methods, computed from the paper's ``reported.csv``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from kdbench.benchmarks import Benchmark, Number, at_key
from kdbench.errors import UserError
from kdbench.plugins import registry, suggestion

Row = Mapping[str, str]


@dataclass(frozen=True)
class Reported:
    """One published comparison.

    Attributes:
        label: Dataset, metric and student, short enough for a column heading.
        origin: Source of the numbers: table, dataset, models, metric and the tag of the source.
        differences: Selector -> the paper's difference from its own plain student, in points as printed.
    """

    label: str
    origin: str
    differences: Mapping[str, Decimal]


def reported(benchmark: Benchmark, source: str) -> list[Reported]:
    """Return the published comparisons of an ablation; none for a benchmark without a paper.

    Args:
        benchmark: Benchmark with canonical selectors.
        source: Name of its file, for errors.

    Raises:
        UserError: One line with the source and the key, if a number is missing or several rows match.
    """
    paper = benchmark.paper
    if paper is None:
        return []
    with at_key(source, "paper.method"):
        rows = registry().method(paper.method).value.published()
    known = {row["variant"] for row in rows}
    for index, entry in enumerate(benchmark.methods):
        if entry.reported is not None and entry.reported not in known:
            raise UserError(
                f"{source}: methods.{index}.reported: the reported numbers of {paper.method} have no variant "
                f"'{entry.reported}'.{suggestion(entry.reported, known)}"
            )
    variants = {entry.method: entry.reported for entry in benchmark.methods if entry.reported is not None}
    found: list[Reported] = []
    for index, number in enumerate(paper.numbers):
        with at_key(source, f"paper.numbers.{index}"):
            one = _reported(paper.method, rows, number, variants)
            if one.label in {other.label for other in found}:
                raise UserError(f"another number is '{one.label}' as well: keep one.")
            found.append(one)
    return found


def _reported(method: str, rows: Sequence[Row], number: Number, variants: Mapping[str, str]) -> Reported:
    """Return one comparison: all variants that have the number, against the baseline."""
    where = {str(column): value for column, value in number.where.items()}
    baseline = _one(method, rows, where | {str(key): value for key, value in number.baseline.items()})
    found = {
        selector: _one(method, rows, {**where, "variant": variant})
        for selector, variant in variants.items()
        if _fitting(rows, {**where, "variant": variant})
    }
    if not found:
        raise UserError(f"the reported numbers of {method} have no variant where {_text(where)}.")
    differences = {selector: _value(row) - _value(baseline) for selector, row in found.items()}
    return Reported(_label(baseline), _origin(method, [baseline, *found.values()]), differences)


def _fitting(rows: Sequence[Row], where: Mapping[str, str]) -> list[Row]:
    return [row for row in rows if all(row[column] == value for column, value in where.items())]


def _one(method: str, rows: Sequence[Row], where: Mapping[str, str]) -> Row:
    """Return the row that matches. Raises UserError if none or several do."""
    fitting = _fitting(rows, where)
    if len(fitting) == 1:
        return fitting[0]
    raise UserError(
        f"the reported numbers of {method} have {len(fitting)} rows where {_text(where)}, not one."
    )


def _text(where: Mapping[str, str]) -> str:
    return " and ".join(f"{column} is '{value}'" for column, value in where.items())


def _value(row: Row) -> Decimal:
    return Decimal(row["value"])


def _label(row: Row) -> str:
    student = f" ({row['student']})" if row["student"] else ""
    return f"{row['dataset']} {row['metric']}{student}"


def _origin(method: str, rows: Sequence[Row]) -> str:
    """Return the source of the rows: the distinct values of each column, in the rows' order."""

    def each(column: str) -> str:
        return " / ".join(dict.fromkeys(row[column] for row in rows if row[column]))

    models = " to ".join(text for text in (each("teacher"), each("student")) if text)
    table = f"Table {each('table')}" if each("table").isdecimal() else each("table")
    parts = [method, table, each("dataset"), models, each("metric")]
    return f"{', '.join(part for part in parts if part)} [{each('source')}]"
