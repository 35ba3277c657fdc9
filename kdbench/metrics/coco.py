"""Average precision and recall of COCO's detection benchmark."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

Truth = str | Path | Mapping[str, Any]
Detections = str | Path | Sequence[Mapping[str, Any]]
STATISTICS = {"AP": 0, "AP50": 1, "AP75": 2, "APs": 3, "APm": 4, "APl": 5, "AR1": 6, "AR10": 7, "AR100": 8}
"""Name -> index in pycocotools' summary."""


def coco_ap(truth: Truth, detections: Detections) -> dict[str, float]:
    """Return COCO's summary of boxes, as pycocotools computes it.

    AP is the mean over IoU 0.5 to 0.95 and classes; APs, APm and APl are for boxes below 32^2, up to 96^2 and above
    96^2 pixels; AR1, AR10 and AR100 are the recalls with that many detections per image. Crowds are ignored. Ids of
    annotations do not matter (pycocotools itself takes the box of id 0 for missed).

    Args:
        truth: A COCO json of instances, as a path or parsed. If an annotation has no ``area``, its box's is used.
        detections: A COCO list of results (``image_id``, ``category_id``, ``bbox``, ``score``), as a path or
            parsed.

    Returns:
        Name -> fraction, or -1 if the truth has no such boxes (for example no small ones).

    Raises:
        ValueError: If the truth or the detections are malformed, hold a number that is not finite, or
            their images do not match.
        OSError: If a file cannot be read.
    """
    return summary(evaluated(_read(truth), _read(detections)))


def evaluated(truth: Any, detections: Any) -> COCOeval:
    """Return pycocotools' evaluation of boxes; it modifies its arguments. Raises like :func:`coco_ap`.

    Args:
        truth: Content of a COCO json.
        detections: List of results.
    """
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        expected = _truth(truth)
        evaluation = COCOeval(expected, _results(expected, detections), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def summary(evaluation: COCOeval) -> dict[str, float]:
    """Return the figures of :func:`coco_ap` from an evaluation."""
    return {name: float(evaluation.stats[place]) for name, place in STATISTICS.items()}


def class_averages(evaluation: COCOeval) -> dict[int, float]:
    """Return category id -> AP over boxes of all sizes; -1 for a class without boxes in the truth."""
    precision = evaluation.eval["precision"][:, :, :, 0, -1]  # thresholds, recalls, classes
    values = (column[column > -1] for column in precision.transpose(2, 0, 1))
    averages = [float(each.mean()) if each.size else -1.0 for each in values]
    return dict(zip(evaluation.params.catIds, averages, strict=True))


def _read(source: Any) -> Any:
    """Return the content of a file, or a copy of parsed content, since pycocotools modifies it."""
    if isinstance(source, str | Path):
        return json.loads(Path(source).read_text(encoding="utf-8"))
    return copy.deepcopy(list(source) if isinstance(source, Sequence) else source)


def _truth(content: Any) -> COCO:
    for part in ("images", "annotations", "categories"):
        if not isinstance(content, Mapping) or not isinstance(content.get(part), list):
            raise ValueError(f"the truth has no list of {part}: give a COCO json of instances")
    for number, entry in enumerate(content["annotations"], 1):
        _require(entry, {"image_id", "category_id", "bbox"}, "an annotation")
        area = entry.get("area", entry["bbox"][2] * entry["bbox"][3])
        (area,) = _require_numbers([area], 1, "the area of an annotation")
        entry |= {"id": number, "area": area, "iscrowd": entry.get("iscrowd", 0)}
    return _indexed(content)


def _results(expected: COCO, found: Any) -> COCO:
    if not isinstance(found, list):
        raise ValueError("the detections are no list: give COCO results")
    for entry in found:
        _require(entry, {"image_id", "category_id", "bbox", "score"}, "a detection")
        _require_numbers([entry["score"]], 1, "the score of a detection")
        if entry["image_id"] not in expected.imgs:
            raise ValueError(f"a detection is of image {entry['image_id']!r}, which the truth lacks")
    if found:
        return expected.loadRes(found)
    return _indexed({**expected.dataset, "annotations": []})


def _require(entry: Any, names: set[str], what: str) -> None:
    absent = names - set(entry)
    if absent:
        raise ValueError(f"{what} lacks {min(absent)}: {entry}")
    entry["bbox"] = _require_numbers(entry["bbox"], 4, f"the bbox of {what}")


def _require_numbers(values: Any, count: int, what: str) -> list[float]:
    """Return so many finite numbers; raise ValueError for anything else."""
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise ValueError(f"{what} is {values}: give {count} finite number{'s' if count > 1 else ''}")
    return numbers


def _indexed(content: Any) -> COCO:
    from pycocotools.coco import COCO

    index = COCO()
    index.dataset = content
    index.createIndex()
    return index
