"""The paper's own difference on its nearest published setting, to stand beside a measured one."""

from __future__ import annotations

import csv
import math
import re
import warnings
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from kdbench.cards import MethodCard
from kdbench.errors import reason
from kdbench.plugins import registry, title_of
from kdbench.results.record import Record
from kdbench.selectors import canonical

BASELINE = "plain"
METRICS = {"detection": ("AP50", "mAP", "AP", "AP75"), "segmentation": ("mIoU",)}
"""Published metrics of a task of which more is better."""
PREFERRED = {"detection": "voc", "segmentation": "cityscapes"}
SOURCES = ("P", "C", "N")
"""The paper's table, a public implementation, a reading note: the first that there is."""
NEEDED = ("table", "dataset", "teacher", "student", "variant", "metric", "value", "source")
Row = Mapping[str, str]


class Published(NamedTuple):
    """A published difference to the paper's own plain student.

    Attributes:
        difference: As a fraction, like a leaderboard's; NaN where nothing is published.
        setting: Dataset, metric, models and source; blank where nothing is published.
    """

    difference: float
    setting: str


NOTHING = Published(math.nan, "")


def published(cell: Record) -> Published:
    """Return the published number nearest to a cell.

    Only the variant that the cell ran, with every other option at its default, or, of a method without variants,
    the options that the cell ran; and only a metric of the cell's task of which more is better. Among those: the
    cell's own dataset before VOC (detection) or Cityscapes (segmentation) before others; the cell's metric; a
    student of as many stages; one of the same depth; the paper's table before other sources; then the first that is
    listed.
    """
    offer = registry().methods.get(cell.method)
    variant = None if offer is None else _variant(offer.value, cell)
    task = cell.spec["pair"].get("task")
    if offer is None or variant is None or task not in METRICS or offer.value.reported is None:
        return NOTHING
    found = _candidates(offer.value.reported, variant, task)
    if not found or variant == BASELINE:
        return NOTHING
    row, baseline = min(found, key=lambda pair: _distance(pair[0], cell, task))
    return Published(float((Decimal(row["value"]) - Decimal(baseline["value"])) / 100), _setting(row))


def _variant(card: MethodCard, cell: Record) -> str | None:
    """Return what the column ``variant`` calls the cell's options; None where it has no name for them."""
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


@lru_cache(maxsize=1024)
def _candidates(file: Path, variant: str, task: str) -> tuple[tuple[Row, Row], ...]:
    """Rows of a variant in a task's metrics, each with the paper's plain student of the same setting."""
    rows = _rows(file)
    baselines = {_where(row): row for row in rows if row["variant"] == BASELINE}
    return tuple(
        (row, baselines[_where(row)])
        for row in rows
        if row["variant"] == variant and row["metric"] in METRICS[task] and _where(row) in baselines
    )


@lru_cache(maxsize=256)
def _rows(file: Path) -> tuple[Row, ...]:
    """Return the rows with all columns and a number; a plugin's other rows are for readers."""
    with file.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    return tuple(row for row in rows if all(row.get(name) is not None for name in NEEDED) and _is_number(row))


def _is_number(row: Row) -> bool:
    return re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", row["value"]) is not None


def _where(row: Row) -> tuple[str, ...]:
    """Return the setting, without the remark in parentheses that a table's name may have."""
    return row["table"].partition(" (")[0], row["dataset"], row["student"], row["metric"]


def _distance(row: Row, cell: Record, task: str) -> tuple[Any, ...]:
    dataset = row["dataset"].lower()
    depth = _depth(cell.spec["pair"].get("student") or {})
    own = re.match(rf"{re.escape(cell.dataset)}(?![a-z])", dataset)
    same_depth = depth and re.search(rf"R(es(Net)?)?-?{depth}(?!\d)", row["student"], re.IGNORECASE)
    source = SOURCES.index(row["source"]) if row["source"] in SOURCES else len(SOURCES)
    preferred = dataset.startswith(PREFERRED[task])
    return (
        not own,
        not preferred,
        row["metric"] != cell.metric,
        not _same_stages(row, cell),
        not same_depth,
        source,
    )


def _same_stages(row: Row, cell: Record) -> bool:
    """Whether both students are two-stage detectors (an R-CNN or R-FCN), or neither is."""
    two_stage = re.search(r"R-?CNN|R-?FCN", row["student"]) is not None
    return two_stage == bool(cell.spec["pair"].get("family") == "two-stage")


def _depth(student: Mapping[str, Any]) -> str:
    """Layers of the student's ResNet; blank where it has none."""
    edited = (student.get("edits") or {}).get("backbone.depth")
    named = re.search(r"(?:^|[/_-])r(?:esnet)?-?(\d+)(?!\d)", str(student.get("config", "")))
    return str(edited) if edited else named[1] if named else ""


def _setting(row: Row) -> str:
    models = " to ".join(text for text in (row["teacher"], row["student"]) if text)
    return f"{row['dataset']} {row['metric']}{', ' if models else ''}{models} [{row['source']}]"
