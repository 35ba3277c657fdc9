"""A small student and teacher of each family, which train some iterations in seconds on one core."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from kdbench.cards import MethodCard, Options
from kdbench.dataset_cards import Dataset
from kdbench.datasets import digits
from kdbench.pairs.small import faster_rcnn, gfl, pspnet, stages
from kdbench.plugins import make_method
from kdbench.specs import Model, Schedule, narrow, task_of

WIDTH = 8
IMAGE = 64
CHANNELS = {"student": 16, "teacher": 24}
"""Channels of the maps; they differ, so that a method that compares maps needs adapters."""
SCHEDULE = Schedule(
    iterations=4, batch_size=2, lr=0.01, weight_decay=0.0, scale=(IMAGE, IMAGE), flip=0.5, clip_norm=10.0
)
"""Schedule without weight decay, since that would change even weights without a gradient."""


def segmenter(channels: int) -> Model:
    """Return an FCN with an auxiliary head; PSPNet's pooled maps could not be normalised over one image."""
    edits = dict(pspnet(18, WIDTH, channels, [0.5] + [1.0] * 10).edits)
    del edits["auxiliary_head"]
    auxiliary = {"in_index": 1, "in_channels": stages(18, WIDTH)[1], "channels": 4}
    edits |= {f"auxiliary_head.{key}": value for key, value in auxiliary.items()}
    return Model(config="mmseg::fcn/fcn_r18-d8_4xb2-80k_cityscapes-512x1024.py", edits=edits)


def dino(channels: int) -> Model:
    """Return a DINO, whose denoising queries no method may see."""
    edits = {
        "backbone.depth": 18,
        "neck.in_channels": stages(18, channels // 4)[-3:],
        "num_queries": 12,
        "encoder.num_layers": 1,
        "decoder.num_layers": 2,
        "dn_cfg.group_cfg.num_dn_queries": 8,
    }
    return narrow("mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py", channels // 4, edits)


MODELS: Mapping[str, Callable[[int], Model]] = {
    "two-stage": lambda channels: faster_rcnn(18, WIDTH, channels, first=1, hidden=32),
    "dense": lambda channels: gfl(18, WIDTH, channels, first=1, norm="head"),
    "query": dino,
    "segmentation": segmenter,
}
"""Family -> function that returns its model with a number of channels."""


def working_families(card: MethodCard, options: Options) -> list[str]:
    """Return the families of a method's tasks that have all of its captures."""
    from kdbench.distill import FAMILIES

    needed = set(make_method(card, options).needs())
    return [family for family, has in FAMILIES.items() if needed <= has and task_of(family) in card.tasks]


def examined_families(card: MethodCard, options: Options) -> list[str]:
    """Return the families in which a method is checked: those in which it works.

    DETRs train slowly and have the same kinds of maps as other detectors, so they are only used for methods that
    work in no other family of detectors.
    """
    found = working_families(card, options)
    others = [family for family in found if family != "query"]
    return others if any(task_of(family) == "detection" for family in others) else found


def dataset_of(family: str) -> Dataset:
    """Return the dataset of generated scenes for a family's task."""
    return digits.segmentation if family == "segmentation" else digits.detection
