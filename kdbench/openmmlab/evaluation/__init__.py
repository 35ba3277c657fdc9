"""What evaluates a model on a dataset: each format's own metrics, and a plugin's metric that ranks."""

from __future__ import annotations

import importlib
from typing import Any

from mmengine.evaluator import Evaluator
from mmengine.registry import EVALUATOR

from kdbench.dataset_cards import Dataset
from kdbench.plugins import registry
from kdbench.results.derived import with_ranking

METRICS = {
    "voc": "KdbenchBoxes",
    "coco": "KdbenchCoco",
    "kitti": "KdbenchKitti",
    "caltech": "KdbenchCaltech",
    "widerface": "KdbenchWiderFace",
    "ilsvrc": "KdbenchIlsvrc",
    "masks": "KdbenchMasks",
}
"""Format of a dataset -> name of its metrics in mmdet's or mmseg's registry."""


@EVALUATOR.register_module(name="KdbenchEvaluator")
class RankedEvaluator(Evaluator):  # type: ignore[misc]
    """An evaluator that adds the metric by which a plugin ranks.

    Args:
        metrics: Configs of the measured metrics.
        ranked_by: Name of a plugin's metric, which is computed from them.
    """

    def __init__(self, metrics: Any, ranked_by: str) -> None:
        super().__init__(metrics)
        self.ranked_by = ranked_by

    def evaluate(self, size: int) -> dict[str, float]:
        """Return the metrics of ``size`` images."""
        return with_ranking(self.ranked_by, super().evaluate(size))


def evaluator_of(dataset: Dataset) -> dict[str, Any]:
    """Return the config of a dataset's evaluator."""
    masks = dataset.task == "segmentation"
    importlib.import_module(f"{__name__}.{'masks' if masks else 'boxes'}")
    metrics = {"type": METRICS[dataset.layout]} | ({"ignore_index": dataset.ignore_index} if masks else {})
    if not registry().metric(dataset.metric).function:
        return metrics
    return {"type": "KdbenchEvaluator", "metrics": [metrics], "ranked_by": dataset.metric}
