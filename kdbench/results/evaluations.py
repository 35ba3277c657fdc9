"""Tables of given weights that were measured here, beside the rankings and never in them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from kdbench.results.leaderboard import one_each
from kdbench.results.record import Record
from kdbench.results.table import Table

Scored = tuple[float, Record]
EVALUATION_NOTE = "Not ranked: these weights were trained elsewhere, under another recipe."


def evaluations(records: Iterable[Record], datasets: Collection[str] = ()) -> list[Table]:
    """Return a table of the measured weights of each dataset, the best first.

    Args:
        records: Of any kind, in any order.
        datasets: Names of the datasets; default: all.
    """
    found: dict[str, list[Scored]] = defaultdict(list)
    for record in one_each(records):
        if record.kind != "evaluation" or (datasets and record.dataset not in datasets):
            continue
        if record.score is not None:
            found[record.dataset].append((record.score, record))
    return [_table(name, found[name]) for name in sorted(found)]


def _table(dataset: str, scored: Sequence[Scored]) -> Table:
    titles = [
        "model and checkpoint",
        scored[0][1].metric,
        "image size",
        "parameters",
        "multiply-adds",
        "SHA-256",
    ]
    best_first = sorted(scored, key=lambda one: one[0], reverse=scored[0][1].higher_is_better)
    rows = [_cells(*one) for one in best_first]
    return Table(titles, rows, "lrrrrl", f"{dataset}: authors' weights, measured here", EVALUATION_NOTE)


def _cells(score: float, record: Record) -> list[str]:
    by = f" (reported by {record.reported_by})" if record.reported_by else ""
    width, height = record.spec["scale"]
    return [
        f"{record.selector}{by}",
        f"{100 * score:.2f}",
        f"{width} x {height}",
        *(_count(number) for number in (record.cost.student_parameters, record.cost.student_flops)),
        record.spec["checkpoint"][:12],
    ]


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"
