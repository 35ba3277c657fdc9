"""The log-average miss rate of the Caltech Pedestrian benchmark."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from kdbench.metrics.boxes import Array, corners, coverage, overlaps, table

MINIMUM_HEIGHT = 40.0
"""Minimum height of a detection in pixels, 50 / 1.25 for the subset "Reasonable"; lower ones are dropped."""
REFERENCES = 10.0 ** np.arange(-2, 0.25, 0.25)
"""False positives per image at which the miss rate is read: nine, from 0.01 to 1."""
FLOOR = 1e-10
"""Lower bound of the miss rates before taking logarithms."""


def log_average_miss_rate(truth: Any, detections: Any, *, frames: int, overlap: float = 0.5) -> float:
    """Return the log-average miss rate, as bbGt.m of Piotr Dollar's toolbox computes it. Lower is better.

    This is the geometric mean of the miss rates at 0.01 to 1 false positives per image. In each frame the
    detections, by descending score, are matched to the free target that they overlap most. A detection that is not
    matched is ignored if at least the share ``overlap`` of its own area lies in an ignored box. Detections below 40
    pixels high are dropped. Boxes are used as given; the caller must set the width of pedestrians, which is 0.41 of
    the height.

    Args:
        truth: (N, 6) rows of frame number, x, y, width, height in pixels, 1 if ignored else 0.
        detections: (M, 6) rows of frame number, x, y, width, height in pixels, score.
        frames: Number of evaluated frames, including those without boxes.
        overlap: Minimum overlap of a match.

    Returns:
        A fraction; 1 without detections, NaN without a target.

    Raises:
        ValueError: If an array has a wrong shape, a number is not finite, or ``frames`` is less than the arrays
            have.
    """
    boxes, found = table(truth, 6, "boxes"), table(detections, 6, "detections")
    named = len(np.unique(np.concatenate([boxes[:, 0], found[:, 0]])))
    if frames < max(named, 1):
        raise ValueError(f"frames is {frames}, and the boxes and detections are of {named} frames")
    total = np.count_nonzero(boxes[:, 5] == 0)
    if total == 0:
        return float("nan")
    scores, true = _judged(boxes, found[found[:, 4] >= MINIMUM_HEIGHT], overlap)
    true = true[np.argsort(-scores, kind="stable")]
    false_per_frame = np.concatenate([[-np.inf], np.cumsum(~true) / frames])
    missed = np.concatenate([[1.0], 1 - np.cumsum(true) / total])
    at = np.searchsorted(false_per_frame, REFERENCES, side="right") - 1
    return float(np.exp(np.mean(np.log(np.maximum(missed[at], FLOOR)))))


def _judged(boxes: Array, found: Array, overlap: float) -> tuple[Array, Any]:
    """Return the scores of the detections that count, frame after frame, and whether each is correct."""
    scores, true = [np.zeros(0)], [np.zeros(0, bool)]
    for frame in np.unique(found[:, 0]):
        here = found[found[:, 0] == frame]
        here = here[np.argsort(-here[:, 5], kind="stable")]
        states = match(boxes[boxes[:, 0] == frame], here, overlap)
        scores.append(here[states >= 0, 5])
        true.append(states[states >= 0] == 1)
    return np.concatenate(scores), np.concatenate(true)


def match(boxes: Array, found: Array, overlap: float) -> npt.NDArray[np.int64]:
    """Return the state of each detection of a frame: 1 correct, 0 wrong, -1 not counted.

    Args:
        boxes: (N, 6) as in :func:`log_average_miss_rate`.
        found: (M, 6) by descending score.
        overlap: Minimum overlap of a match.
    """
    ignored = boxes[:, 5] != 0
    shares = overlaps(corners(found[:, 1:5]), corners(boxes[~ignored, 1:5]))
    covered = coverage(corners(found[:, 1:5]), corners(boxes[ignored, 1:5]))
    states = np.zeros(len(found), int)
    states[covered.max(axis=1, initial=0) >= overlap] = -1
    for index, row in enumerate(shares):
        if row.max(initial=0) >= overlap:
            # the official code takes the last of equally overlapped targets
            taken = len(row) - 1 - row[::-1].argmax()
            shares[:, taken] = -1
            states[index] = 1
    return states
