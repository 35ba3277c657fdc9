"""Methods at equal training time: each beside a plain student that trained at least as long as the method did."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from kdbench.results.model import RankingModel
from kdbench.results.row import Row
from kdbench.results.statistics import mean
from kdbench.specs import PLAIN, training_time

DECIMALS = 2
"""Of a ratio of times that counts: those that tables show."""


def models(plain: Row, controls: Sequence[Row], methods: Mapping[str, Row]) -> dict[str, RankingModel]:
    """Return a model for each control, of the differences of all other students to it.

    Args:
        plain: The plain student's row.
        controls: Rows of plain students that trained longer.
        methods: Label -> row of a method, each computation once.
    """
    students = {PLAIN: plain, **{row["method"]: row for row in controls}, **methods}
    blocks = {label: row.blocks for label, row in students.items()}
    names = [row["method"] for row in controls]
    others = {name: {label: own for label, own in blocks.items() if label != name} for name in names}
    return {name: RankingModel(blocks[name], others[name], name) for name in names}


def control_of(ratio: float, controls: Sequence[Row]) -> Row | None:
    """Return the control that a method is set beside: of those that train at least as long, the shortest.

    Args:
        ratio: Time of the method's iteration relative to the plain student's; NaN where it is not known.
        controls: Rows of plain students that trained longer, each with a result.

    Returns:
        The control's row; None where none trains long enough, or the ratio is not known.
    """
    enough = [row for row in controls if _time(row) >= round(ratio, DECIMALS)]
    return min(enough, key=_time, default=None)


def _time(control: Row) -> float:
    return training_time(control.cells[0].method, control.cells[0].options)


def beside(row: Row, control: Row, model: RankingModel) -> dict[str, Any]:
    """Return the columns of a row on its difference to a control.

    Args:
        row: Of a method or the plain student.
        control: What it is compared with.
        model: Of the differences to that control.
    """
    own, other = row.blocks, control.blocks
    shared = own.keys() & other.keys()
    found = model.estimates.get(row["same_as"] or row["method"])
    if found is None:
        gain, low, high = mean(own[block] - other[block] for block in shared), math.nan, math.nan
        verdict = "one seed" if shared else "no shared seed"
    else:
        gain, low, high, verdict = found.mean, found.low, found.high, found.verdict
    numbers = {"control_difference": gain, "control_low": low, "control_high": high}
    return {"control": control["method"], **numbers, "control_verdict": verdict}
