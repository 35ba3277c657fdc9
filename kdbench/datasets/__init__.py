"""The datasets that kdbench brings and the metrics that rank them, registered like anybody's."""

from __future__ import annotations

from collections.abc import Iterable

from kdbench.dataset_cards import METRICS, Dataset, MetricCard
from kdbench.datasets import (
    ade20k,
    caltech_frames,
    camvid,
    cityscapes,
    digits,
    ilsvrc_det,
    linked,
    sbd,
    small,
    voc,
)
from kdbench.hookspecs import hookimpl


@hookimpl
def kdbench_datasets() -> list[Dataset]:
    """Return all cards."""
    embedded = [digits.detection, digits.segmentation]
    return [
        *embedded,
        voc.voc,
        voc.voc07,
        voc.voc12seg,
        sbd.card,
        *small.CARDS,
        camvid.card,
        cityscapes.card,
        ade20k.card,
        linked.coco,
        linked.kitti,
        caltech_frames.card,
        linked.widerface,
        ilsvrc_det.card,
    ]


@hookimpl
def kdbench_metrics() -> Iterable[MetricCard]:
    """Return what kdbench's own evaluation measures, and what follows from that."""
    return [*METRICS.values(), ade20k.metric]
