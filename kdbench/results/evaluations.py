"""Given weights that were measured here: a table a dataset, beside its rankings and never in them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from kdbench.results.leaderboard import one_each
from kdbench.results.record import Record
from kdbench.results.table import Table

NOTE = "Not ranked: these weights were trained elsewhere, under another recipe."


def evaluations(records: Iterable[Record], datasets: Collection[str] = ()) -> list[Table]:
    """Return a table of measured weights for each dataset that has any, the best first.

    Args:
        records: Of any kind, in any order.
        datasets: Names of the datasets to show; default: all.
    """
    found: dict[str, list[Record]] = defaultdict(list)
    for record in one_each(records):
        if record.kind == "evaluation" and record.done and (not datasets or record.dataset in datasets):
            found[record.dataset].append(record)
    return [_table(name, found[name]) for name in sorted(found)]


def _table(dataset: str, records: Sequence[Record]) -> Table:
    titles = [
        "model and checkpoint",
        records[0].metric,
        "image size",
        "parameters",
        "multiply-adds",
        "SHA-256",
    ]
    rows = [_cells(record) for record in sorted(records, key=lambda record: -(record.score or 0))]
    return Table(titles, rows, "lrrrrl", f"{dataset}: authors' weights, measured here", NOTE)


def _cells(record: Record) -> list[str]:
    by = f" (reported by {record.reported_by})" if record.reported_by else ""
    width, height = record.spec["scale"]
    return [
        f"{record.selector}{by}",
        f"{100 * (record.score or math.nan):.2f}",
        f"{width} x {height}",
        *(_count(number) for number in (record.cost.student_parameters, record.cost.student_flops)),
        record.spec["checkpoint"][:12],
    ]


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"
