"""Compares two methods as a user names them, over the records of a results folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from kdbench.errors import UserError
from kdbench.plugins import registry, suggestion
from kdbench.results.compare import Comparison, comparisons
from kdbench.results.naming import fits
from kdbench.results.record import Record
from kdbench.results.store import Store
from kdbench.selectors import canonical, method_of


def compare(
    results: Path, first: str, second: str, *, dataset: str | None = None, pair: str | None = None
) -> list[Comparison]:
    """Compare two methods as :func:`kdbench.compare` does; broken records are logged."""
    records = chosen(Store(results).readable(dataset), dataset, pair, results)
    one, two = (selector(text, records, results) for text in (first, second))
    if one == two:
        raise UserError(f"'{first}' and '{second}' are the same method, '{one}': give two.")
    found = comparisons(records, one, two)
    if not found:
        raise UserError(apart(records, one, two))
    return found


def chosen(records: Iterable[Record], dataset: str | None, pair: str | None, results: Path) -> list[Record]:
    """Return the records of that dataset and pair. Raises UserError where there are none."""
    records = list(records)
    if not records and dataset is not None:
        registry().dataset(dataset)
    teachers = [record for record in records if record.kind == "teacher"]
    cells = [record for record in records if record.kind == "cell" and record.schedule != "smoke"]
    here = [cell for cell in cells if pair in (None, cell.pair_name)]
    if cells and not here:
        near = suggestion(str(pair), {cell.pair_name for cell in cells})
        raise UserError(f"no results of pair '{pair}' in {results}.{near}")
    if not here:
        of = f" of '{dataset}'" if dataset else ""
        raise UserError(f"no results{of} in {results} to compare: make some with `kdbench run`.")
    return [*teachers, *here]


def selector(text: str, records: Iterable[Record], results: Path) -> str:
    """Return the selector that the records have of what a user names.

    Raises:
        UserError: If there is no such method or option, or it has no results here.
    """
    cells = [record for record in records if record.kind == "cell"]
    known = {cell.selector for cell in cells}
    if found := {cell.selector for cell in cells if fits(text, cell)}:
        return text if text in found else min(found, key=lambda one: (len(one), one))
    if text == "teacher":
        raise UserError(
            "the teacher is one model, with no seeds to pair: compare with none, the plain student; "
            "`kdbench leaderboard` has the teacher's own row."
        )
    meant = canonical(*method_of(text))
    if meant in known:
        return meant
    raise UserError(f"no results of '{meant}' in {results}.{suggestion(meant, known)}")


def apart(records: Iterable[Record], first: str, second: str) -> str:
    """Why there is nothing to compare."""
    where = {
        name: ", ".join(sorted({cell.pair_name for cell in records if cell.selector == name}))
        for name in (first, second)
    }
    return (
        f"'{first}' (on {where[first]}) and '{second}' (on {where[second]}) have no recipe and teacher in "
        "common: run both on one pair."
    )
