"""The datasets that kdbench brings and the metrics that rank them, registered like anybody's."""

from __future__ import annotations

from collections.abc import Iterable

from kdbench.cards import METRICS, Dataset, MetricCard
from kdbench.datasets import bccd, camvid, digits, linked, voc
from kdbench.hookspecs import hookimpl


@hookimpl
def kdbench_datasets() -> list[Dataset]:
    """Return all cards."""
    embedded = [digits.detection, digits.segmentation]
    return [
        *embedded,
        voc.voc,
        voc.voc07,
        bccd.card,
        camvid.card,
        linked.coco,
        linked.kitti,
        linked.widerface,
    ]


@hookimpl
def kdbench_metrics() -> Iterable[MetricCard]:
    """Return what kdbench's own evaluation measures."""
    return METRICS.values()
