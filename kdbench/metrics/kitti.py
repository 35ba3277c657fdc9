"""Average precision of the KITTI object benchmark, for boxes in the image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kdbench.metrics.boxes import Array, coverage, overlaps

OVERLAPS = {"Car": 0.7, "Pedestrian": 0.5, "Cyclist": 0.5}
"""Evaluated class -> intersection over union that a match must exceed."""
NEIGHBOURS = {"Car": "van", "Pedestrian": "person_sitting", "Cyclist": None}
"""Evaluated class -> neighbouring class, whose boxes are ignored."""
SLOTS = 41


class Level(NamedTuple):
    """A level of difficulty: minimum height in pixels, maximum occlusion and truncation of a target."""

    height: int
    occlusion: int
    truncation: float


LEVELS = {"easy": Level(40, 0, 0.15), "moderate": Level(25, 1, 0.3), "hard": Level(25, 2, 0.5)}


@dataclass(frozen=True)
class Objects:
    """A KITTI file: lower-case types, (N,) truncation and occlusion, (N, 4) corners in pixels, (N,) scores."""

    types: list[str]
    truncation: Array
    occlusion: Array
    boxes: Array
    scores: Array


class _Frame(NamedTuple):
    """The boxes and detections of a frame that take part at a level, and their overlaps.

    ``targets`` has, for each box, whether it is ignored and its (detection, overlap) candidates in order;
    ``stuff`` has, for each DontCare region, the detections inside it.
    """

    targets: list[tuple[bool, list[tuple[int, float]]]]
    scores: list[float]
    small: list[bool]
    judged: list[bool]
    stuff: list[list[int]]


def kitti_ap(truth: str | Path, detections: str | Path, name: str) -> dict[str, float]:
    """Return the average precision of a class at each level, as the C++ development kit computes it.

    Args:
        truth: Folder of label files (``000000.txt``), all of which are evaluated.
        detections: Folder of result files with the same names, one per label file (empty if there are no
            detections), with the score as the 16th column.
        name: ``Car``, ``Pedestrian`` or ``Cyclist``.

    Returns:
        ``AP11/LEVEL`` (11 recalls, the benchmark until October 2019) and ``AP40/LEVEL`` (40 recalls, since) for the
        levels easy, moderate and hard -> fraction; 0 if no target is found.

    Raises:
        ValueError: If the class is unknown, a file is missing, or a line is malformed.
    """
    if name not in OVERLAPS:
        raise ValueError(f"KITTI judges {', '.join(OVERLAPS)}: not {name!r}")
    return averages(list(_pairs(Path(truth), Path(detections))), name)


def averages(frames: Sequence[tuple[Objects, Objects]], name: str) -> dict[str, float]:
    """Return the same as :func:`kitti_ap`, for the truth and the detections of each frame."""
    result = {}
    for level, limits in LEVELS.items():
        precision = precisions(frames, name, limits)
        result[f"AP11/{level}"] = float(precision[::4].mean())
        result[f"AP40/{level}"] = float(precision[1:].mean())
    return result


def _pairs(truth: Path, detections: Path) -> Iterable[tuple[Objects, Objects]]:
    labels = sorted(truth.glob("*.txt"))
    if not labels:
        raise ValueError(f"{truth} holds no label file (000000.txt)")
    for label in labels:
        result = detections / label.name
        if not result.is_file():
            raise ValueError(f"{result} is missing: write an empty file where nothing was found")
        yield read_objects(label, scored=False), read_objects(result, scored=True)
    more = {path.name for path in detections.glob("*.txt")} - {label.name for label in labels}
    if more:
        raise ValueError(f"{truth} lacks {min(more)}, for which there are detections")


def read_objects(path: Path, *, scored: bool) -> Objects:
    """Read a label file, or a result file with scores. Raises ValueError if a line is malformed."""
    columns = 16 if scored else 15
    types, rows = [], []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        words = line.split()
        if not words:
            continue
        try:
            row = [float(word) for word in words[1:columns]]
        except ValueError:
            row = []
        if len(row) != columns - 1 or not np.isfinite(row).all():
            raise ValueError(f"{path}, line {number}: give a type and {columns - 1} numbers")
        types.append(words[0].lower())
        rows.append(row)
    table = np.array(rows, np.float64).reshape(len(rows), columns - 1)
    scores = table[:, 14] if scored else np.zeros(0)
    return Objects(types, table[:, 0], table[:, 1], table[:, 3:7], scores)


def precisions(frames: Iterable[tuple[Objects, Objects]], name: str, level: Level) -> Array:
    """Return the 41 precisions of a class at recalls 0, 1/40, ..., 1 (0 for recalls that are not reached).

    Args:
        frames: Truth and detections of each frame.
        name: A class of :data:`OVERLAPS`.
        level: Level of difficulty.
    """
    prepared = [_prepare(labels, found, name, level) for labels, found in frames]
    targets = sum(not ignored for frame in prepared for ignored, _ in frame.targets)
    scores = [score for frame in prepared for score in _by_score(frame)]
    result = np.zeros(SLOTS)
    for slot, threshold in enumerate(thresholds(scores, targets)):
        counts = np.array([_by_overlap(frame, threshold) for frame in prepared])
        true, false = counts.sum(axis=0)
        result[slot] = true / (true + false) if true else 0.0
    return np.maximum.accumulate(result[::-1])[::-1]


def thresholds(scores: list[float], targets: int) -> list[float]:
    """Return the scores, at most 41 and descending, at which the recall is closest to 0, 1/40, ..., 1."""
    kept: list[float] = []
    recall = 0.0
    ordered = sorted(scores, reverse=True)
    for index, score in enumerate(ordered):
        left, right = (index + 1) / targets, (index + 2) / targets
        last = index == len(ordered) - 1
        if not last and right - recall < recall - left:
            continue
        kept.append(score)
        recall += 1 / (SLOTS - 1)
    return kept[:SLOTS]


def _prepare(labels: Objects, found: Objects, name: str, level: Level) -> _Frame:
    """Select the boxes and detections that take part at a level, and those that overlap enough."""
    least = OVERLAPS[name]
    small = (np.trunc(np.abs(found.boxes[:, 1] - found.boxes[:, 3])) < level.height).tolist()
    ours = [kind == name.lower() for kind in found.types]
    # a small detection takes part whatever its class, as in the official code
    taking = [index for index in range(len(ours)) if small[index] or ours[index]]
    shares = overlaps(found.boxes, labels.boxes)
    targets = []
    for index, ignored in enumerate(_ignored(labels, name, level)):
        if ignored is not None:
            near = [(other, shares[other, index]) for other in taking if shares[other, index] > least]
            targets.append((ignored, near))
    regions = labels.boxes[[kind == "dontcare" for kind in labels.types]]
    covered = coverage(found.boxes, regions) > least
    judged = [mine and not tiny for mine, tiny in zip(ours, small, strict=True)]
    stuff = [[other for other in np.flatnonzero(column) if judged[other]] for column in covered.T]
    return _Frame(targets, found.scores.tolist(), small, judged, stuff)


def _ignored(labels: Objects, name: str, level: Level) -> list[bool | None]:
    """Return for each box whether it is ignored (True), is a target (False) or does not take part (None)."""
    heights = labels.boxes[:, 3] - labels.boxes[:, 1]
    hard = (
        (labels.occlusion > level.occlusion)
        | (labels.truncation > level.truncation)
        | (heights < level.height)
    )
    known = {name.lower(): False, NEIGHBOURS[name]: True}
    return [
        known[kind] or bool(beyond) if kind in known else None
        for kind, beyond in zip(labels.types, hard, strict=True)
    ]


def _by_score(frame: _Frame) -> list[float]:
    """Return the scores of the found targets, each matched to the free detection with the highest score."""
    assigned: set[int] = set()
    scores = []
    for ignored, near in frame.targets:
        free = [other for other, _ in near if other not in assigned]
        if not free:
            continue
        best = max(free, key=lambda other: frame.scores[other])
        assigned.add(best)
        if not ignored and not frame.small[best]:
            scores.append(frame.scores[best])
    return scores


def _by_overlap(frame: _Frame, threshold: float) -> tuple[int, int]:
    """Return the numbers of true and false positives among the detections with at least a given score."""
    assigned: set[int] = set()
    true = 0
    for ignored, near in frame.targets:
        free = [pair for pair in near if pair[0] not in assigned and frame.scores[pair[0]] >= threshold]
        if not free:
            continue
        large = [pair for pair in free if not frame.small[pair[0]]]
        best = max(large, key=lambda pair: pair[1])[0] if large else free[0][0]
        assigned.add(best)
        true += not ignored and bool(large)
    false = {
        other
        for other, judged in enumerate(frame.judged)
        if judged and other not in assigned and frame.scores[other] >= threshold
    }
    return true, len(false.difference(*frame.stuff))
