"""Areas and overlaps of boxes, with corners x1, y1, x2, y2."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
EXACT = 2.0**53
"""From here on neighbouring whole numbers are the same as float64."""


def table(values: Any, columns: int, what: str) -> Array:
    """Return ``values`` as an (N, ``columns``) array of finite numbers below 2^53; an empty input gives N = 0.

    Floating-point numbers no longer tell larger ones apart, such as hashes used as ids of images.

    Args:
        values: Array or nested sequence.
        columns: Number of columns.
        what: Name of the rows, for messages.

    Raises:
        ValueError: If the shape is wrong or a number is not finite or too large.
    """
    array = np.asarray(values, np.float64)
    if array.size == 0:
        return np.zeros((0, columns))
    if array.ndim != 2 or array.shape[1] != columns:
        raise ValueError(f"the {what} have shape {array.shape}: give (N, {columns})")
    if not np.isfinite(array).all():
        raise ValueError(f"the {what} hold a number that is not finite")
    if (np.abs(array) >= EXACT).any():
        raise ValueError(f"the {what} hold a number of 2^53 or more: number the images from 0")
    return array


def corners(boxes: Array) -> Array:
    """Return (N, 4) boxes x, y, width, height as x1, y1, x2, y2."""
    return np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:4]])


def areas(boxes: Array, pixel: float = 0.0) -> Array:
    """Return the (N,) areas of boxes; ``pixel`` is 1 if both corners are pixels of the box."""
    return (boxes[:, 2] - boxes[:, 0] + pixel) * (boxes[:, 3] - boxes[:, 1] + pixel)


def intersections(first: Array, second: Array, pixel: float = 0.0) -> Array:
    """Return the (N, M) areas that each of N boxes shares with each of M; ``pixel`` as in :func:`areas`."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:4], second[None, :, 2:4])
    sides: Array = np.maximum(high - low + pixel, 0)
    return sides[..., 0] * sides[..., 1]


def overlaps(first: Array, second: Array, pixel: float = 0.0) -> Array:
    """Return the (N, M) intersections over unions; ``pixel`` as in :func:`areas`."""
    shared = intersections(first, second, pixel)
    united = areas(first, pixel)[:, None] + areas(second, pixel)[None] - shared
    return ratio(shared, united)


def coverage(first: Array, second: Array) -> Array:
    """Return the (N, M) shares of each of N boxes' area that each of M boxes covers."""
    return ratio(intersections(first, second), areas(first)[:, None])


def ratio(part: Array, whole: Array) -> Array:
    """Return ``part / whole``, 0 where ``part`` is 0."""
    return np.divide(part, whole, out=np.zeros(np.broadcast(part, whole).shape), where=part > 0)
