"""What ILSVRC judges a detector by: fractions in [0, 1], unrounded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmdet.evaluation.functional.mean_ap import get_cls_results
from mmdet.registry import METRICS

from kdbench.metrics.ilsvrc import ilsvrc_ap
from kdbench.openmmlab.evaluation.boxes import BoxMetric, mean


@METRICS.register_module(name="KdbenchIlsvrc")
class IlsvrcMetric(BoxMetric):
    """``AP_ILSVRC``: the mean over the classes that have a box, and each class's."""

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Metrics of all images."""
        truths, predictions = zip(*results, strict=True)
        found = {}
        for index, name in enumerate(self.dataset_meta["classes"]):
            detections, boxes, _ = get_cls_results(predictions, truths, index)
            value = ilsvrc_ap(_rows(boxes), _rows(detections))
            if value == value:
                found[name] = value
        return {"AP_ILSVRC": mean(found), **{f"AP_ILSVRC/{name}": value for name, value in found.items()}}


def _rows(images: Sequence[Any]) -> Any:
    """Return the rows of all images, with the number of the image before each."""
    return np.vstack([np.column_stack([np.full(len(rows), at), rows]) for at, rows in enumerate(images)])
