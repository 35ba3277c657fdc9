"""Average precision of PASCAL VOC."""

from __future__ import annotations

from typing import Any

import numpy as np

from kdbench.metrics.boxes import Array, overlaps, ratio, table
from kdbench.metrics.curves import area, at_points


def voc_ap(truth: Any, detections: Any, *, overlap: float = 0.5, points: int | None = None) -> float:
    """Return the average precision of one class, as VOCevaldet.m of the VOC development kit computes it.

    Detections of all images are processed by descending score (ties in the order given). Each is assigned to the
    box of its image that it overlaps most, even if that is already matched. Corners are pixels of the box (a side
    is x2 - x1 + 1). A difficult box is not a target, and detections that are assigned to it are ignored.

    Args:
        truth: (N, 6) rows of image number, x1, y1, x2, y2 in pixels, 1 if difficult else 0.
        detections: (M, 6) rows of image number, x1, y1, x2, y2 in pixels, score.
        overlap: Minimum intersection over union of a match.
        points: 11 for the mean over 11 recalls (VOC 2007), None for the area under the curve (since 2010).

    Returns:
        A fraction; 0 without detections, NaN if all boxes are difficult.

    Raises:
        ValueError: If an array has a wrong shape or a number is not finite.
    """
    boxes, found = table(truth, 6, "boxes"), table(detections, 6, "detections")
    total = np.count_nonzero(boxes[:, 5] == 0)
    if total == 0:
        return float("nan")
    found = found[np.argsort(-found[:, 5], kind="stable")]
    true, judged = _matches(boxes, found, overlap)
    hits, misses = np.cumsum(true), np.cumsum(judged & ~true)
    recall, precision = hits / total, ratio(hits, hits + misses)
    return area(recall, precision) if points is None else at_points(recall, precision, points)


def _matches(boxes: Array, found: Array, overlap: float) -> tuple[Any, Any]:
    """Return two (M,) masks of the sorted detections: which are correct, and which count at all."""
    true, judged = np.zeros(len(found), bool), np.ones(len(found), bool)
    for image in np.unique(found[:, 0]):
        here = np.flatnonzero(found[:, 0] == image)
        targets = boxes[boxes[:, 0] == image]
        if len(targets) == 0:
            continue
        shares = overlaps(found[here, 1:5], targets[:, 1:5], pixel=1)
        best = shares.argmax(axis=1)
        near = shares.max(axis=1) >= overlap
        judged[here] = ~(near & (targets[best, 5] != 0))
        first = np.zeros(len(here), bool)
        chosen = np.flatnonzero(near & judged[here])
        first[chosen[np.unique(best[chosen], return_index=True)[1]]] = True
        true[here] = first
    return true, judged
