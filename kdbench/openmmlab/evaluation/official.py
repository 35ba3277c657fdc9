"""What Caltech Pedestrian and WIDER FACE judge a detector by: fractions in [0, 1], unrounded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric

from kdbench.metrics.caltech import log_average_miss_rate
from kdbench.metrics.widerface import wider_face_ap


class _Boxes(BaseMetric):  # type: ignore[misc]
    """Keeps each image's name, truth, and detections (N, 5): x, y, width, height, score."""

    def process(self, data_batch: Any, data_samples: Sequence[Any]) -> None:
        """Keep the truth and the detections of a batch."""
        self.results += [
            (each["img_id"], each["truth"], _rows(each["pred_instances"])) for each in data_samples
        ]


@METRICS.register_module(name="KdbenchCaltech")
class CaltechBoxes(_Boxes):
    """``MR``: the log-average miss rate on the subset Reasonable; lower is better."""

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Return the metric of all frames."""
        truth = [(frame, *row) for frame, (_, rows, _) in enumerate(results) for row in rows]
        found = [(frame, *row) for frame, (_, _, rows) in enumerate(results) for row in rows]
        rate = log_average_miss_rate(truth, found, frames=len(results))
        return {"MR": rate if rate == rate else 1.0}


@METRICS.register_module(name="KdbenchWiderFace")
class WiderFaceBoxes(_Boxes):
    """``AP_easy``, ``AP_medium`` and ``AP_hard``: average precision on the official subsets."""

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Return the metrics of all images."""
        found = {"|".join(PurePosixPath(name).with_suffix("").parts): rows for name, _, rows in results}
        scores = wider_face_ap(results[0][1], found)
        return {f"AP_{subset}": value for subset, value in scores.items()}


def _rows(found: Any) -> npt.NDArray[np.float64]:
    boxes = np.array(found["bboxes"].tolist(), np.float64).reshape(-1, 4)
    boxes[:, 2:] -= boxes[:, :2]
    return np.column_stack([boxes, np.array(found["scores"].tolist())])
