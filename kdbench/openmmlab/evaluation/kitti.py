"""KITTI's average precision of a detector: fractions in [0, 1], unrounded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric

from kdbench.metrics.kitti import OVERLAPS, Objects, averages


@METRICS.register_module(name="KdbenchKitti")
class KittiBoxes(BaseMetric):  # type: ignore[misc]
    """``AP40_moderate`` and the like: means over the classes that KITTI judges, and the moderate AP40 of each."""

    def process(self, data_batch: Any, data_samples: Sequence[Any]) -> None:
        """Keep the truth and the detections of a batch."""
        classes = self.dataset_meta["classes"]
        self.results += [
            (each["truth"], _detections(each["pred_instances"], classes)) for each in data_samples
        ]

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Return the metrics of all images."""
        judged = [name for name in self.dataset_meta["classes"] if name in OVERLAPS]
        found = {name: averages(results, name) for name in judged}
        keys = {key: key.replace("/", "_") for key in found[judged[0]]}
        values = {named: float(np.mean([found[name][key] for name in judged])) for key, named in keys.items()}
        each = {f"{named}/{name}": found[name][key] for key, named in keys.items() for name in judged}
        return values | {name: value for name, value in each.items() if name.startswith("AP40_moderate")}


def _detections(found: Any, classes: Sequence[str]) -> Objects:
    """Return an image's detections as the lines of a result file."""
    types = [classes[label].lower() for label in found["labels"].tolist()]
    nothing = np.zeros(len(types))
    boxes, scores = (np.array(found[name].tolist()) for name in ("bboxes", "scores"))
    return Objects(types, nothing, nothing, boxes.reshape(-1, 4), scores)
