"""Average precision from a precision-recall curve."""

from __future__ import annotations

import numpy as np

from kdbench.metrics.boxes import Array


def area(recall: Array, precision: Array) -> float:
    """Return the area under the curve, after raising each precision to the maximum at any higher recall.

    Args:
        recall: (N,) ascending, in [0, 1].
        precision: (N,) in [0, 1].
    """
    steps = np.concatenate([[0.0], recall, [1.0]])
    heights = np.maximum.accumulate(np.concatenate([[0.0], precision, [0.0]])[::-1])[::-1]
    higher = np.flatnonzero(np.diff(steps)) + 1
    return float(np.sum((steps[higher] - steps[higher - 1]) * heights[higher]))


def at_points(recall: Array, precision: Array, points: int) -> float:
    """Return the mean over ``points`` evenly spaced recalls of the maximum precision at this or a higher recall."""
    levels = np.arange(points) * (1 / (points - 1))
    return float(np.mean([precision[recall >= level].max(initial=0.0) for level in levels]))
