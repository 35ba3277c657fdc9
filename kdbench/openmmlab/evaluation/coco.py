"""COCO's average precision of a detector: fractions in [0, 1], unrounded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric

from kdbench.metrics.coco import class_averages, evaluated, summary


@METRICS.register_module(name="KdbenchCoco")
class CocoBoxes(BaseMetric):  # type: ignore[misc]
    """mAP, AP50, AP75, the averages by size, the recalls, and the mAP of each class.

    What the truth has nothing of (small boxes, or a class) has no entry.
    """

    def process(self, data_batch: Any, data_samples: Sequence[Any]) -> None:
        """Keep the truth and the detections of a batch."""
        self.results += [(sample["truth"], _detections(sample["pred_instances"])) for sample in data_samples]

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Return the metrics of all images."""
        classes = self.dataset_meta["classes"]
        truth, found = (
            _with_images([each for each, _ in results]),
            _with_images([each for _, each in results]),
        )
        content = {
            "images": [{"id": number} for number in range(len(results))],
            "annotations": [{"id": number, **entry} for number, entry in enumerate(truth, 1)],
            "categories": [{"id": index, "name": name} for index, name in enumerate(classes)],
        }
        evaluation = evaluated(content, found)
        values = summary(evaluation)
        values = {"mAP": values.pop("AP")} | values
        values |= {f"mAP/{classes[index]}": value for index, value in class_averages(evaluation).items()}
        return {name: value for name, value in values.items() if value >= 0} or {"mAP": 0.0}


def _detections(found: Any) -> list[dict[str, Any]]:
    """Return an image's detections as COCO results, without the image."""
    rows = zip(found["bboxes"].tolist(), found["labels"].tolist(), found["scores"].tolist(), strict=True)
    return [
        {"category_id": label, "bbox": [left, top, right - left, bottom - top], "score": score}
        for (left, top, right, bottom), label, score in rows
    ]


def _with_images(images: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return the entries of all images, each with the number of its image."""
    return [{**entry, "image_id": number} for number, entries in enumerate(images) for entry in entries]
