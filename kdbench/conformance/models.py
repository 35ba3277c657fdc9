"""A small student and teacher of every family: a training of some iterations takes seconds on one core."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from kdbench.cards import Dataset
from kdbench.datasets import digits
from kdbench.pairs.small import faster_rcnn, gfl, pspnet
from kdbench.specs import Model, Schedule, Task

WIDTH = 8
IMAGE = 64
CHANNELS = {"student": 16, "teacher": 24}
"""They differ, so that a method which compares maps needs its adapters."""
SCHEDULE = Schedule(
    iterations=4, batch_size=2, lr=0.01, weight_decay=0.0, scale=(IMAGE, IMAGE), flip=0.5, clip_norm=10.0
)
"""Without weight decay, which moves every weight, also those that get no gradient."""


def _segmenter(channels: int) -> Model:
    """FCN: a pyramid of pooled maps cannot be normalised over one image."""
    config = "mmseg::fcn/fcn_r18-d8_4xb2-80k_cityscapes-512x1024.py"
    return Model(config=config, edits=pspnet(18, WIDTH, channels, [0.5] + [1.0] * 10).edits)


MODELS: Mapping[str, Callable[[int], Model]] = {
    "two-stage": lambda channels: faster_rcnn(18, WIDTH, channels, first=1, hidden=32),
    "dense": lambda channels: gfl(18, WIDTH, channels, first=1, norm="head"),
    "segmentation": _segmenter,
}
"""Family -> its model with so many channels. A method that runs in DETRs is looked at in the other families."""


def task_of(family: str) -> Task:
    """Return the task of a family's models."""
    return "segmentation" if family == "segmentation" else "detection"


def dataset_of(family: str) -> Dataset:
    """Return the drawn scenes, as the family's models need them."""
    return digits.segmentation if family == "segmentation" else digits.detection
