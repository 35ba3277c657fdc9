"""The numbers that papers report for a method, each beside the paper's own plain student."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from pathlib import Path

from kdbench.cards import REPORTED
from kdbench.specs import Family

BASELINE = "plain"
"""Variant of a paper's plain student."""
TEACHER = "teacher"
"""Variant of a paper's teacher."""
GAIN = " gain"
"""Ends the metric of a row that has the difference to the plain student alone."""
SOURCES = {
    "P": "the paper's own table or text",
    "D": "computed from its plain student and a printed difference",
    "C": "a public implementation",
    "N": "a reading note or survey",
}
"""Tag of a source -> what it is; the most trusted first."""
TAGS = f"{'; '.join(f'{tag}: {what}' for tag, what in SOURCES.items())}."
DENSE = r"RetinaNet|GFL|FCOS|ATSS|RepPoints"
"""Dense detectors, by the name of a published student."""
Row = Mapping[str, str]


@dataclass(frozen=True)
class PaperResult:
    """A number that a paper reports for a distilled student.

    Attributes:
        row: Its row of ``reported.csv``; the metric is without "gain".
        value: The number, None where only the difference is told.
        plain: The same paper's plain student, None where it has none.
        teacher: The same paper's teacher, None where it has none.
        difference: To the plain student: positive where the distilled student is better; None where it is unknown.
    """

    row: Row
    value: Decimal | None
    plain: Decimal | None
    teacher: Decimal | None
    difference: Decimal | None


@lru_cache(maxsize=256)
def paper_results(file: Path) -> tuple[PaperResult, ...]:
    """Return the distilled students of a ``reported.csv``, in its order.

    A row without all columns, or whose value is no number, is passed over: a plugin may have rows for readers.
    """
    rows = list(_rows(file))
    plain = {_setting(row): Decimal(row["value"]) for row in rows if row["variant"] == BASELINE}
    teachers = {_teacher(row): Decimal(row["value"]) for row in rows if row["variant"] == TEACHER}
    gains = {_key(row): Decimal(row["value"]) for row in rows if row["metric"].endswith(GAIN)}
    told = {_key(row) for row in rows if not row["metric"].endswith(GAIN)}
    return tuple(
        _result(row, plain.get(_setting(row)), teachers.get(_teacher(row)), gains.get(_key(row)))
        for row in rows
        if row["variant"] not in (BASELINE, TEACHER)
        and not (row["metric"].endswith(GAIN) and _key(row) in told)
    )


def _result(row: Row, plain: Decimal | None, teacher: Decimal | None, gain: Decimal | None) -> PaperResult:
    metric = row["metric"].removesuffix(GAIN)
    value = Decimal(row["value"]) if metric == row["metric"] else None
    if gain is None and value is not None and plain is not None:
        gain = plain - value if is_error(metric) else value - plain
    return PaperResult({**row, "metric": metric}, value, plain, teacher, gain)


def family_of(row: Row) -> Family | None:
    """Return the family of a published student, as its name and its metric tell; None where they do not."""
    if row["metric"] in ("mIoU", "pixel accuracy"):
        return "segmentation"
    if is_two_stage(row):
        return "two-stage"
    return "dense" if re.match(DENSE, row["student"]) else None


def is_two_stage(row: Row) -> bool:
    """Whether a published student is a two-stage detector: an R-CNN or R-FCN."""
    return re.search(r"R-?CNN|R-?FCN", row["student"]) is not None


def is_error(metric: str) -> bool:
    """Whether less of a published metric is better."""
    return "error" in metric


def _rows(file: Path) -> Iterator[Row]:
    with file.open(newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            if all(row.get(name) is not None for name in REPORTED) and _is_number(row):
                yield row


def _is_number(row: Row) -> bool:
    return re.fullmatch(r"-?[0-9]{1,9}(\.[0-9]{1,9})?", row["value"]) is not None


def _setting(row: Row) -> tuple[str, ...]:
    """Return what a row shares with its plain student."""
    return row["table"], row["dataset"], row["student"], row["metric"]


def _teacher(row: Row) -> tuple[str, ...]:
    """Return what a row shares with its teacher."""
    return row["table"], row["dataset"], row["teacher"], row["metric"]


def _key(row: Row) -> tuple[str, ...]:
    """Return what a number shares with the gain of the same student."""
    names = ("table", "dataset", "teacher", "student", "variant")
    return (*(row[name] for name in names), row["metric"].removesuffix(GAIN))
