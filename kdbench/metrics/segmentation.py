"""Intersection over union and pixel accuracy of segmentations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt


def iou(
    truth: Iterable[Any],
    predictions: Iterable[Any],
    *,
    classes: int | Sequence[str],
    ignore: int = 255,
    absent: float | Literal["skip"] = "skip",
) -> dict[str, float]:
    """Return the mean IoU, the pixel accuracy and each class's IoU, over the pixels of all images together.

    As in the evaluations of Cityscapes (class IoU), PASCAL VOC and, with ``absent=0``, ADE20K (SceneParse150), a
    class's IoU is the number of its correct pixels divided by the number of pixels that belong to it in the truth
    or the prediction. Pixels whose truth is ``ignore`` do not count; a predicted value that is no class is wrong,
    and counts for no class.

    Args:
        truth: Integer arrays of class indices, one per image.
        predictions: Integer arrays of class indices, of the same shapes.
        classes: Names of the classes in order of their indices, or their number.
        ignore: Value in ``truth`` of pixels to ignore.
        absent: IoU, in the mean, of a class that is neither in the truth nor predicted, or ``skip`` to leave it
            out.

    Returns:
        ``mIoU``, ``pixel_accuracy`` and ``IoU/CLASS`` (the index if ``classes`` is a number) -> fraction. A
        skipped class has no entry; if all pixels are ignored, mIoU (unless ``absent`` is a number) and pixel
        accuracy are NaN.

    Raises:
        ValueError: If arrays do not match, are not integers, or the truth has a value that is no class.
    """
    names = (
        [str(index) for index in range(classes)] if isinstance(classes, int | np.integer) else list(classes)
    )
    confusion = np.zeros((len(names), len(names) + 1))
    for wanted, found in zip(truth, predictions, strict=True):
        confusion += _confusion(np.asarray(wanted), np.asarray(found), len(names), ignore)
    correct, expected = np.diag(confusion), confusion.sum(axis=1)
    united = expected + confusion[:, :-1].sum(axis=0) - correct
    there = united > 0
    values = np.divide(correct, united, out=np.full(len(names), np.nan), where=there)
    if absent != "skip":
        values[~there] = absent
    known = values[~np.isnan(values)]
    total = expected.sum()
    return {
        "mIoU": float(known.mean()) if len(known) else float("nan"),
        "pixel_accuracy": float(correct.sum() / total) if total else float("nan"),
        **{f"IoU/{name}": float(value) for name, value in zip(names, values, strict=True) if value == value},
    }


def _confusion(wanted: npt.NDArray[Any], found: npt.NDArray[Any], classes: int, ignore: int) -> Any:
    """Return the (classes, classes + 1) counts of an image's pixels: truth, prediction (the last: no class)."""
    if wanted.shape != found.shape:
        raise ValueError(f"a truth of shape {wanted.shape} has a prediction of shape {found.shape}")
    if not (np.issubdtype(wanted.dtype, np.integer) and np.issubdtype(found.dtype, np.integer)):
        raise ValueError(f"class indices are {wanted.dtype} and {found.dtype}: give integers")
    judged = wanted != ignore
    rows, columns = wanted[judged].astype(np.int64), found[judged].astype(np.int64)
    if rows.size and not 0 <= rows.min() <= rows.max() < classes:
        bad = rows.min() if rows.min() < 0 else rows.max()
        raise ValueError(f"the truth has the value {bad}: neither one of {classes} classes nor {ignore}")
    columns[(columns < 0) | (columns >= classes)] = classes
    counts = np.bincount(rows * (classes + 1) + columns, minlength=classes * (classes + 1))
    return counts.reshape(classes, classes + 1)
