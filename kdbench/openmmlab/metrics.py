"""What a model is judged by: fractions in [0, 1], unrounded, with per-class values."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmdet.evaluation import eval_map
from mmdet.evaluation.metrics import VOCMetric
from mmdet.registry import METRICS as DETECTION_METRICS


@DETECTION_METRICS.register_module(name="KdbenchBoxes")
class BoxMetric(VOCMetric):  # type: ignore[misc]
    """PASCAL VOC average precision: AP50 and AP75 (area under the curve), AP50_11point (VOC07), AP50 per class."""

    default_prefix = None

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Metrics of all images; a class without a ground-truth box counts as VOC's code counts it."""
        truths, predictions = zip(*results, strict=True)
        classes = self.dataset_meta["classes"]
        values: dict[str, float] = {}
        for name, threshold, mode in (
            ("AP50", 0.5, "area"),
            ("AP75", 0.75, "area"),
            ("AP50_11point", 0.5, "11points"),
        ):
            mean, per_class = eval_map(
                predictions,
                truths,
                iou_thr=threshold,
                dataset=classes,
                logger="silent",
                eval_mode=mode,
                use_legacy_coordinate=True,
                nproc=1,
            )
            values[name] = float(mean)
            if name == "AP50":
                values |= {
                    f"AP50/{c}": float(np.ravel(r["ap"])[0]) for c, r in zip(classes, per_class, strict=True)
                }
        return values
