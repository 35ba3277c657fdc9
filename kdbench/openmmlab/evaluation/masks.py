"""Metrics of segmentation models: fractions in [0, 1], unrounded."""

from __future__ import annotations

from typing import Any

import torch
from mmseg.evaluation.metrics import IoUMetric
from mmseg.registry import METRICS


@METRICS.register_module(name="KdbenchMasks")
class MaskMetric(IoUMetric):  # type: ignore[misc]
    """mIoU over the classes, pixel accuracy, IoU per class (a class absent from truth and prediction has none)."""

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Return the metrics of all pixels that are not ignored."""
        intersect, union, _, label = (
            torch.stack(part).sum(0).double() for part in zip(*results, strict=True)
        )
        iou = intersect / union
        values = {"mIoU": iou.nanmean(), "pixel_accuracy": intersect.sum() / label.sum()}
        values |= {
            f"IoU/{name}": value for name, value in zip(self.dataset_meta["classes"], iou, strict=True)
        }
        return {name: float(value) for name, value in values.items() if not value.isnan()}
