"""The paper's own difference on its nearest published setting, to stand beside a measured one."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from kdbench.cards import MethodCard
from kdbench.errors import reason
from kdbench.plugins import registry, title_of
from kdbench.results.papers import SOURCES, PaperResult, Row, is_two_stage, paper_results
from kdbench.results.record import Record
from kdbench.selectors import canonical

METRICS = {"detection": ("AP50", "mAP", "AP", "AP75"), "segmentation": ("mIoU",)}
"""Published metrics of a task of which more is better."""
PREFERRED = {"detection": "voc", "segmentation": "cityscapes"}


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
    found = [one for one in paper_results(offer.value.reported) if _is_candidate(one, variant, task)]
    if not found:
        return NOTHING
    nearest = min(found, key=lambda one: _distance(one.row, cell, task))
    return Published(float((nearest.difference or 0) / 100), _setting(nearest.row))


def _is_candidate(one: PaperResult, variant: str, task: str) -> bool:
    """Whether a number is a variant's, in one of a task's metrics, beside the plain student of its setting."""
    told = one.value is not None and one.plain is not None
    return told and one.row["variant"] == variant and one.row["metric"] in METRICS[task]


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


def _distance(row: Row, cell: Record, task: str) -> tuple[Any, ...]:
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


def _same_stages(row: Row, cell: Record) -> bool:
    """Whether both students are two-stage detectors (an R-CNN or R-FCN), or neither is."""
    return is_two_stage(row) == bool(cell.spec["pair"].get("family") == "two-stage")


def _depth(student: Mapping[str, Any]) -> str:
    """Layers of the student's ResNet; blank where it has none."""
    edited = (student.get("edits") or {}).get("backbone.depth")
    named = re.search(r"(?:^|[/_-])r(?:esnet)?-?(\d+)(?!\d)", str(student.get("config", "")))
    return str(edited) if edited else named[1] if named else ""


def _setting(row: Row) -> str:
    models = " to ".join(text for text in (row["teacher"], row["student"]) if text)
    return f"{row['dataset']} {row['metric']}{', ' if models else ''}{models} [{row['source']}]"
