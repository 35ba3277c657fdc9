"""Average precision of ILSVRC's detection task."""

from __future__ import annotations

from typing import Any

import numpy as np

from kdbench.metrics.boxes import Array, overlaps, ratio, table
from kdbench.metrics.curves import area

TOLERANCE = 10.0
"""Tolerance in pixels for small boxes, which lowers the required overlap."""


def ilsvrc_ap(truth: Any, detections: Any, *, overlap: float = 0.5) -> float:
    """Return the average precision of one class, as the development kit of ILSVRC (DET) computes it.

    Detections of all images are processed by descending score (ties in the order given). Each is matched to the
    free box of its image that it overlaps most, among those that it overlaps enough: by ``overlap`` or, for a box
    of w x h pixels, by wh / ((w + 10) (h + 10)) if that is less. Unlike in VOC, it is matched to the next best box
    if the best is taken. Corners are pixels of the box (a side is x2 - x1 + 1).

    Args:
        truth: (N, 5) rows of image number, x1, y1, x2, y2 in pixels.
        detections: (M, 6) rows of image number, x1, y1, x2, y2 in pixels, score.
        overlap: Minimum intersection over union of a match with a large box.

    Returns:
        The area under the curve, a fraction; 0 without detections, NaN without a box.

    Raises:
        ValueError: If an array has a wrong shape or a number is not finite.
    """
    boxes, found = table(truth, 5, "boxes"), table(detections, 6, "detections")
    if len(boxes) == 0:
        return float("nan")
    found = found[np.argsort(-found[:, 5], kind="stable")]
    true = _matches(boxes, found, overlap)
    hits = np.cumsum(true, dtype=np.float64)
    return area(hits / len(boxes), ratio(hits, np.arange(1, len(found) + 1, dtype=np.float64)))


def _matches(boxes: Array, found: Array, overlap: float) -> Any:
    """Return an (M,) mask of the sorted detections that are correct."""
    sides = boxes[:, 3:5] - boxes[:, 1:3] + 1
    least = np.minimum(sides.prod(axis=1) / (sides + TOLERANCE).prod(axis=1), overlap)
    true = np.zeros(len(found), bool)
    for image in np.unique(found[:, 0]):
        here, targets = np.flatnonzero(found[:, 0] == image), np.flatnonzero(boxes[:, 0] == image)
        shares = overlaps(found[here, 1:5], boxes[targets, 1:5], pixel=1)
        shares[shares < least[targets]] = -1
        for row, share in enumerate(shares):
            if share.size and share.max() >= 0:
                true[here[row]] = True
                shares[:, share.argmax()] = -1
    return true
