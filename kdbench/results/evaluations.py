"""Tables of given weights that were measured here, beside the rankings and never in them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from kdbench.results.leaderboard import one_each
from kdbench.results.record import Record
from kdbench.results.table import Table

EVALUATION_NOTE = "Not ranked: these weights were trained elsewhere, under another recipe."


def evaluations(records: Iterable[Record], datasets: Collection[str] = ()) -> list[Table]:
    """Return a table of the measured weights of each dataset, the best first.

    Args:
        records: Of any kind, in any order.
        datasets: Names of the datasets; default: all.
    """
    found: dict[str, list[Record]] = defaultdict(list)
    for record in one_each(records):
        shown = not datasets or record.dataset in datasets
        if shown and record.kind == "evaluation" and record.score is not None:
            found[record.dataset].append(record)
    return [_table(name, found[name]) for name in sorted(found)]


def _table(dataset: str, records: Sequence[Record]) -> Table:
    metric = records[0].metric
    titles = ["model and checkpoint", metric, "image size", "parameters", "multiply-adds", "SHA-256"]
    best_first = sorted(records, key=lambda record: -record.sign * (record.score or 0))
    heading = f"{dataset}: authors' weights, measured here"
    return Table(titles, list(map(_cells, best_first)), "lrrrrl", heading, EVALUATION_NOTE)


def _cells(record: Record) -> list[str]:
    by = f" (reported by {record.reported_by})" if record.reported_by else ""
    width, height = record.spec["scale"]
    return [
        f"{record.selector}{by}",
        f"{100 * (record.score or 0):.2f}",
        f"{width} x {height}",
        *(_count(number) for number in (record.cost.student_parameters, record.cost.student_flops)),
        record.spec["checkpoint"][:12],
    ]


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"
