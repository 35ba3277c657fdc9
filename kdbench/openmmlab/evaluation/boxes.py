"""Metrics of detectors, one class for each format of a dataset: fractions in [0, 1], unrounded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
from mmdet.evaluation.functional.mean_ap import average_precision, get_cls_results, tpfp_default
from mmdet.evaluation.metrics import VOCMetric
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric

from kdbench.metrics.caltech import log_average_miss_rate
from kdbench.metrics.coco import class_averages, evaluated, summary
from kdbench.metrics.ilsvrc import ilsvrc_ap
from kdbench.metrics.kitti import OVERLAPS, Objects, averages
from kdbench.metrics.widerface import wider_face_ap

Curve = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]


@METRICS.register_module(name="KdbenchBoxes")
class BoxMetric(VOCMetric):  # type: ignore[misc]
    """PASCAL VOC average precision: AP50 and AP75 (area under the curve), AP50_11point (VOC07), AP50 per class.

    The matching and the area are mmdet's functions, with VOC's coordinates. mmdet's own loop over them is
    not used: it forks worker processes, which deadlock at times in a process that runs torch's threads.
    """

    default_prefix = None

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Return the metrics of all images; a class without a ground-truth box does not count."""
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
    """Return recall and precision of one class over descending scores; None without a ground-truth box.

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
    """Return the average precision of each class that has ground truth."""
    return {
        name: float(np.ravel(average_precision(found[0][None], found[1][None], mode))[0])
        for name, found in curves.items()
        if found is not None
    }


def mean(values: dict[str, float]) -> float:
    """Return the mean over classes, 0 without any."""
    return float(np.mean(list(values.values()))) if values else 0.0


@METRICS.register_module(name="KdbenchIlsvrc")
class IlsvrcMetric(BoxMetric):
    """ILSVRC's average precision ``AP_ILSVRC``: the mean over the classes that have a box, and each class's."""

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Return the metrics of all images."""
        truths, predictions = zip(*results, strict=True)
        found = {}
        for index, name in enumerate(self.dataset_meta["classes"]):
            detections, boxes, _ = get_cls_results(predictions, truths, index)
            value = ilsvrc_ap(_numbered(boxes), _numbered(detections))
            if value == value:
                found[name] = value
        return {"AP_ILSVRC": mean(found), **{f"AP_ILSVRC/{name}": value for name, value in found.items()}}


@dataclass(frozen=True)
class Detections:
    """The detections in one image.

    Attributes:
        boxes: (N, 4) x1, y1, x2, y2, in pixels.
        labels: N class indices.
        scores: (N,).
    """

    boxes: npt.NDArray[np.float64]
    labels: list[int]
    scores: npt.NDArray[np.float64]

    def with_sizes(self) -> npt.NDArray[np.float64]:
        """Return (N, 4) x, y, width, height."""
        return np.column_stack([self.boxes[:, :2], self.boxes[:, 2:] - self.boxes[:, :2]])


class OfficialMetric(BaseMetric):  # type: ignore[misc]
    """Metrics that an evaluation of :mod:`kdbench.metrics` computes from the format's own ground truth.

    ``results`` holds the name, the ground truth and the :class:`Detections` of each image.
    """

    def process(self, data_batch: Any, data_samples: Sequence[Any]) -> None:
        """Keep the truth and the detections of a batch."""
        for sample in data_samples:
            found = sample["pred_instances"]
            boxes, labels, scores = (found[name].tolist() for name in ("bboxes", "labels", "scores"))
            detections = Detections(np.array(boxes, float).reshape(-1, 4), labels, np.array(scores, float))
            self.results.append((sample["img_id"], sample["truth"], detections))


@METRICS.register_module(name="KdbenchCoco")
class CocoBoxes(OfficialMetric):
    """COCO's mAP, AP50, AP75, the averages by size, the recalls, and the mAP of each class.

    What the truth has nothing of (small boxes, or a class) has no entry.
    """

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Return the metrics of all images."""
        classes = self.dataset_meta["classes"]
        truth = [{**entry, "image_id": at} for at, (_, entries, _) in enumerate(results) for entry in entries]
        content = {
            "images": [{"id": number} for number in range(len(results))],
            "annotations": [{"id": number, **entry} for number, entry in enumerate(truth, 1)],
            "categories": [{"id": index, "name": name} for index, name in enumerate(classes)],
        }
        detections = [
            {"category_id": label, "bbox": box, "score": score, "image_id": number}
            for number, (_, _, found) in enumerate(results)
            for box, label, score in zip(
                found.with_sizes().tolist(), found.labels, found.scores.tolist(), strict=True
            )
        ]
        evaluation = evaluated(content, detections)
        values = summary(evaluation)
        values = {"mAP": values.pop("AP")} | values
        values |= {f"mAP/{classes[index]}": value for index, value in class_averages(evaluation).items()}
        return {name: value for name, value in values.items() if value >= 0} or {"mAP": 0.0}


@METRICS.register_module(name="KdbenchKitti")
class KittiBoxes(OfficialMetric):
    """KITTI's ``AP40_moderate`` and the like: means over the evaluated classes, and each one's moderate AP40."""

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Return the metrics of all images."""
        classes = self.dataset_meta["classes"]
        pairs = [(truth, _kitti_objects(detections, classes)) for _, truth, detections in results]
        judged = [name for name in classes if name in OVERLAPS]
        found = {name: averages(pairs, name) for name in judged}
        keys = {key: key.replace("/", "_") for key in found[judged[0]]}
        values = {named: float(np.mean([found[name][key] for name in judged])) for key, named in keys.items()}
        each = {f"{named}/{name}": found[name][key] for key, named in keys.items() for name in judged}
        return values | {name: value for name, value in each.items() if name.startswith("AP40_moderate")}


@METRICS.register_module(name="KdbenchCaltech")
class CaltechBoxes(OfficialMetric):
    """Caltech's ``MR``: the log-average miss rate on the subset Reasonable; lower is better."""

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Return the metric of all frames."""
        truth = [(frame, *row) for frame, (_, rows, _) in enumerate(results) for row in rows]
        found = [(frame, *row) for frame, (*_, found) in enumerate(results) for row in _sized_rows(found)]
        rate = log_average_miss_rate(truth, found, frames=len(results))
        return {"MR": rate if rate == rate else 1.0}


@METRICS.register_module(name="KdbenchWiderFace")
class WiderFaceBoxes(OfficialMetric):
    """WIDER FACE's ``AP_easy``, ``AP_medium`` and ``AP_hard``: average precision on the official subsets."""

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Return the metrics of all images."""
        found = {
            "|".join(PurePosixPath(name).with_suffix("").parts): _sized_rows(detections)
            for name, _, detections in results
        }
        scores = wider_face_ap(results[0][1], found)
        return {f"AP_{subset}": value for subset, value in scores.items()}


def _numbered(images: Sequence[Any]) -> Any:
    """Return the rows of all images, with the number of the image before each."""
    return np.vstack([np.column_stack([np.full(len(rows), at), rows]) for at, rows in enumerate(images)])


def _kitti_objects(found: Detections, classes: Sequence[str]) -> Objects:
    """Return an image's detections as the lines of a KITTI result file."""
    types = [classes[label].lower() for label in found.labels]
    nothing = np.zeros(len(types))
    return Objects(types, nothing, nothing, found.boxes, found.scores)


def _sized_rows(found: Detections) -> npt.NDArray[np.float64]:
    """Return (N, 5) x, y, width, height, score."""
    return np.column_stack([found.with_sizes(), found.scores])
