"""Methods at equal training time: each against a plain student that trained at least as long (a control)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from kdbench.results.model import RankingModel
from kdbench.results.row import Row
from kdbench.results.statistics import mean
from kdbench.specs import PLAIN, training_time

DECIMALS = 2
"""Decimals of a ratio of times that count: those that tables show."""


def control_models(
    plain: Row, controls: Sequence[Row], methods: Mapping[str, Row]
) -> dict[str, RankingModel]:
    """Return label of a control -> model of the differences of all other students to it.

    Args:
        plain: The plain student's row.
        controls: Rows of plain students that trained longer.
        methods: Label -> row of a method, without rows that repeat another's computation.
    """
    students = {PLAIN: plain, **{row["method"]: row for row in controls}, **methods}
    blocks = {label: row.blocks for label, row in students.items()}
    return {
        (name := row["method"]): RankingModel(
            blocks[name], {label: own for label, own in blocks.items() if label != name}, name
        )
        for row in controls
    }


def control_of(ratio: float, controls: Sequence[Row]) -> Row | None:
    """Return the control of a method: the shortest of those that train at least as long.

    Args:
        ratio: Time of the method's iteration relative to the plain student's; NaN if unknown.
        controls: Rows of plain students that trained longer, each with a result.

    Returns:
        The control's row; None if no control trains long enough or the ratio is unknown.
    """
    enough = [row for row in controls if _time(row) >= round(ratio, DECIMALS)]
    return min(enough, key=_time, default=None)


def _time(control: Row) -> float:
    return training_time(control.cells[0].method, control.cells[0].options)


def beside(row: Row, control: Row, model: RankingModel) -> dict[str, Any]:
    """Return the columns of a row on its difference to a control.

    Args:
        row: Row of a method or the plain student.
        control: Row of its control.
        model: Model of the differences to that control.
    """
    found = model.estimates.get(row["same_as"] or row["method"])
    if found is None:
        gains = row.gains(control)
        gain, low, high = mean(gains), math.nan, math.nan
        verdict = "one seed" if gains else "no shared seed"
    else:
        gain, low, high, verdict = found.mean, found.low, found.high, found.verdict
    numbers = {"control_difference": gain, "control_low": low, "control_high": high}
    return {"control": control["method"], **numbers, "control_verdict": verdict}
