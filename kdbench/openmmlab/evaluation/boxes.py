"""What a detector is judged by: fractions in [0, 1], unrounded, with per-class values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from mmdet.evaluation.functional.mean_ap import average_precision, get_cls_results, tpfp_default
from mmdet.evaluation.metrics import VOCMetric
from mmdet.registry import METRICS as DETECTION_METRICS

Curve = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]


@DETECTION_METRICS.register_module(name="KdbenchBoxes")
class BoxMetric(VOCMetric):  # type: ignore[misc]
    """PASCAL VOC average precision: AP50 and AP75 (area under the curve), AP50_11point (VOC07), AP50 per class.

    The matching and the area are mmdet's functions, with VOC's coordinates. mmdet's own loop over them is
    not used: it forks worker processes, which deadlock at times in a process that runs torch's threads.
    """

    default_prefix = None

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Metrics of all images; a class without a ground-truth box does not count."""
        truths, predictions = zip(*results, strict=True)
        classes = self.dataset_meta["classes"]
        at50 = {name: curve(predictions, truths, index, 0.5) for index, name in enumerate(classes)}
        at75 = {name: curve(predictions, truths, index, 0.75) for index, name in enumerate(classes)}
        per_class = areas(at50, "area")
        return {
            "AP50": mean(per_class),
            "AP75": mean(areas(at75, "area")),
            "AP50_11point": mean(areas(at50, "11points")),
            **{f"AP50/{name}": value for name, value in per_class.items()},
        }


def curve(predictions: Sequence[Any], truths: Sequence[Any], index: int, threshold: float) -> Curve | None:
    """Recall and precision of one class over descending scores; None without a ground-truth box.

    Args:
        predictions: For each image, for each class, (N, 5) boxes with scores.
        truths: For each image, its annotation.
        index: The class.
        threshold: Least IoU of a match.
    """
    boxes, expected, ignored = get_cls_results(predictions, truths, index)
    total = sum(len(image) for image in expected)
    if total == 0:
        return None
    matches = [
        tpfp_default(found, wanted, skipped, threshold, use_legacy_coordinate=True)
        for found, wanted, skipped in zip(boxes, expected, ignored, strict=True)
    ]
    order = np.argsort(-np.vstack(boxes)[:, -1], kind="stable")
    true = np.cumsum(np.hstack([match[0][0] for match in matches])[order], dtype=np.float64)
    false = np.cumsum(np.hstack([match[1][0] for match in matches])[order], dtype=np.float64)
    return true / total, true / np.maximum(true + false, np.finfo(np.float32).eps)


def areas(curves: dict[str, Curve | None], mode: str) -> dict[str, float]:
    """Average precision of each class that has ground truth."""
    return {
        name: float(np.ravel(average_precision(found[0][None], found[1][None], mode))[0])
        for name, found in curves.items()
        if found is not None
    }


def mean(values: dict[str, float]) -> float:
    """Mean over classes, 0 without any."""
    return float(np.mean(list(values.values()))) if values else 0.0
