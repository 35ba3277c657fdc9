"""The numbers that papers report, each beside the paper's own plain student, and the one nearest to a cell."""

from __future__ import annotations

import csv
import math
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from kdbench.cards import PAPER_COLUMNS, MethodCard
from kdbench.errors import reason
from kdbench.plugins import registry, title_of
from kdbench.results.record import Record
from kdbench.selectors import canonical

BASELINE = "plain"
"""Variant of a paper's plain student."""
TEACHER = "teacher"
"""Variant of a paper's teacher."""
GAIN = " gain"
"""End of the metric of a row that has only the difference to the plain student."""
SOURCES = {
    "P": "the paper's own table or text",
    "D": "computed from its plain student and a printed difference",
    "C": "a public implementation",
    "N": "a reading note or survey",
}
"""Tag of a source -> its meaning, the most trusted first."""
TAGS = f"{'; '.join(f'{tag}: {what}' for tag, what in SOURCES.items())}."
TASK_METRICS = {"detection": ("AP50", "mAP", "AP", "AP75"), "segmentation": ("mIoU",)}
"""Published metrics of a task of which more is better."""
PREFERRED = {"detection": "voc", "segmentation": "cityscapes"}
"""Dataset of a task that comes next after the cell's own."""
PaperRow = Mapping[str, str]
"""A row of a ``reported.csv``."""


@dataclass(frozen=True)
class PaperResult:
    """A number that a paper reports for a distilled student.

    Attributes:
        row: Its row of ``reported.csv``; the metric is without "gain".
        value: The number; None if only the difference is printed.
        plain: The number of the same paper's plain student; None without one.
        teacher: The number of the same paper's teacher; None without one.
        difference: To the plain student, positive if the distilled student is better; None if it is unknown.
    """

    row: PaperRow
    value: Decimal | None
    plain: Decimal | None
    teacher: Decimal | None
    difference: Decimal | None


class Published(NamedTuple):
    """A published difference to the paper's own plain student.

    Attributes:
        difference: A fraction, as in a leaderboard; NaN if nothing is published.
        setting: Dataset, metric, models and source; blank if nothing is published.
    """

    difference: float
    setting: str


UNPUBLISHED = Published(math.nan, "")


@lru_cache(maxsize=256)
def paper_results(file: Path) -> tuple[PaperResult, ...]:
    """Return the distilled students of a ``reported.csv``, in its order.

    A row that lacks a column, or whose value is not a number, is skipped: a plugin may have rows for readers only.
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


def _result(
    row: PaperRow, plain: Decimal | None, teacher: Decimal | None, gain: Decimal | None
) -> PaperResult:
    metric = row["metric"].removesuffix(GAIN)
    value = Decimal(row["value"]) if metric == row["metric"] else None
    if gain is None and value is not None and plain is not None:
        gain = plain - value if is_error(metric) else value - plain
    return PaperResult({**row, "metric": metric}, value, plain, teacher, gain)


def is_two_stage(row: PaperRow) -> bool:
    """Whether a published student is a two-stage detector, an R-CNN or R-FCN."""
    return re.search(r"R-?CNN|R-?FCN", row["student"]) is not None


def is_error(metric: str) -> bool:
    """Whether less of a published metric is better."""
    return "error" in metric


def _rows(file: Path) -> Iterator[PaperRow]:
    with file.open(newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            if all(row.get(name) is not None for name in PAPER_COLUMNS) and _is_number(row):
                yield row


def _is_number(row: PaperRow) -> bool:
    return re.fullmatch(r"-?[0-9]{1,9}(\.[0-9]{1,9})?", row["value"]) is not None


def _setting(row: PaperRow) -> tuple[str, ...]:
    """Return the cells that a row shares with its plain student."""
    return row["table"], row["dataset"], row["student"], row["metric"]


def _teacher(row: PaperRow) -> tuple[str, ...]:
    """Return the cells that a row shares with its teacher."""
    return row["table"], row["dataset"], row["teacher"], row["metric"]


def _key(row: PaperRow) -> tuple[str, ...]:
    """Return the cells that a row shares with the gain of the same student."""
    names = ("table", "dataset", "teacher", "student", "variant")
    return (*(row[name] for name in names), row["metric"].removesuffix(GAIN))


def nearest_published(cell: Record) -> Published:
    """Return the published difference whose setting is nearest to a cell's.

    Candidates are of the cell's variant with all other options at their defaults (or, if the method has no
    variants, of the cell's options), in a metric of the cell's task of which more is better. They are ordered by
    dataset (the cell's own, then VOC or Cityscapes, then others), the cell's metric, a student with as many stages,
    a student of the same depth, the source (the paper's table first), and their place in the file.
    """
    offer = registry().methods.get(cell.method)
    variant = None if offer is None else _variant(offer.value, cell)
    task = cell.spec["pair"].get("task")
    if offer is None or variant is None or task not in TASK_METRICS or offer.value.reported is None:
        return UNPUBLISHED
    found = [one for one in paper_results(offer.value.reported) if _is_candidate(one, variant, task)]
    if not found:
        return UNPUBLISHED
    nearest = min(found, key=lambda one: _distance(one.row, cell, task))
    return Published(float((nearest.difference or 0) / 100), _setting_of(nearest.row))


def _is_candidate(one: PaperResult, variant: str, task: str) -> bool:
    """Whether a number is of a variant and a task's metric, and has a plain student."""
    told = one.value is not None and one.plain is not None
    return told and one.row["variant"] == variant and one.row["metric"] in TASK_METRICS[task]


def _variant(card: MethodCard, cell: Record) -> str | None:
    """Return the name of the cell's options in the column ``variant``; None if there is none."""
    given = dict(cell.options)
    named = "variant" in card.options.model_fields
    try:
        options = card.options.model_validate({"variant": given.get("variant")} if named else given)
    except ValidationError:
        return None
    except Exception as error:  # a plugin's own validator
        told = f"{title_of(card)} failed in its options, and its paper is left out: {reason(error)}"
        warnings.warn(told, stacklevel=2)
        return None
    if options.recorded() != given:
        return None
    return str(given["variant"]) if named else canonical(card, options)[len(card.name) + 1 : -1]


def _distance(row: PaperRow, cell: Record, task: str) -> tuple[Any, ...]:
    dataset = row["dataset"].lower()
    depth = _depth(cell.spec["pair"].get("student") or {})
    own = re.match(rf"{re.escape(cell.dataset)}(?![a-z])", dataset)
    same_depth = depth and re.search(rf"R(es(Net)?)?-?{depth}(?!\d)", row["student"], re.IGNORECASE)
    source = list(SOURCES).index(row["source"]) if row["source"] in SOURCES else len(SOURCES)
    preferred = dataset.startswith(PREFERRED[task])
    return (
        not own,
        not preferred,
        row["metric"] != cell.metric,
        not _same_stages(row, cell),
        not same_depth,
        source,
    )


def _same_stages(row: PaperRow, cell: Record) -> bool:
    """Whether both students are two-stage detectors, or neither is."""
    return is_two_stage(row) == bool(cell.spec["pair"].get("family") == "two-stage")


def _depth(student: Mapping[str, Any]) -> str:
    """Return the number of layers of the student's ResNet; blank if it has none."""
    edited = (student.get("edits") or {}).get("backbone.depth")
    named = re.search(r"(?:^|[/_-])r(?:esnet)?-?(\d+)(?!\d)", str(student.get("config", "")))
    return str(edited) if edited else named[1] if named else ""


def _setting_of(row: PaperRow) -> str:
    models = " to ".join(text for text in (row["teacher"], row["student"]) if text)
    return f"{row['dataset']} {row['metric']}{', ' if models else ''}{models} [{row['source']}]"
