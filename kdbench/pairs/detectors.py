"""Published detectors on COCO and KITTI, with the teachers, students and schedules that papers use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kdbench.pairs.gpu import RESNET18
from kdbench.specs import Family, Model, Pair, Schedule

ONE, TWO = 90_000, 180_000
"""Iterations of COCO's 1x and 2x schedules at a batch of 16: about 12 and 24 epochs."""
KITTI_ITERATIONS = 5_600
"""About 24 epochs of KITTI's 3,712 training images."""
SIZES = {"coco": (1333, 800), "kitti": (1242, 375)}
RESNET18_FOR_CAFFE: dict[str, Any] = RESNET18 | {
    "backbone.style": "pytorch",
    "backbone.norm_cfg.requires_grad": True,
    "data_preprocessor.mean": [123.675, 116.28, 103.53],
    "data_preprocessor.std": [58.395, 57.12, 57.375],
    "data_preprocessor.bgr_to_rgb": True,
}
"""Edits to a config with Caffe's ResNet, which has no ResNet-18: torchvision's weights and normalisation."""


@dataclass(frozen=True)
class Detector:
    """A detector of mmdet in three depths.

    Attributes:
        name: Part of the pairs' names.
        title: Title of the detector.
        family: Family of the detector.
        r101: Config with ResNet-101, for which OpenMMLab has trained weights.
        r50: Config with ResNet-50, for which OpenMMLab has trained weights.
        r18: Edits to ``r50`` for ResNet-18.
        lr: Peak learning rate at a batch size of 16.
        iterations: Length of the students' schedule on COCO.
        clip_norm: Maximum norm of the gradient.
    """

    name: str
    title: str
    family: Family
    r101: str
    r50: str
    r18: dict[str, Any]
    lr: float
    iterations: int
    clip_norm: float | None = None


DETECTORS = (
    Detector(
        "faster-rcnn",
        "Faster R-CNN",
        "two-stage",
        "mmdet::faster_rcnn/faster-rcnn_r101_fpn_2x_coco.py",
        "mmdet::faster_rcnn/faster-rcnn_r50_fpn_2x_coco.py",
        RESNET18,
        0.02,
        TWO,
    ),
    Detector(
        "retinanet",
        "RetinaNet",
        "dense",
        "mmdet::retinanet/retinanet_r101_fpn_2x_coco.py",
        "mmdet::retinanet/retinanet_r50_fpn_2x_coco.py",
        RESNET18,
        0.01,
        TWO,
    ),
    Detector(
        "gfl",
        "GFL",
        "dense",
        "mmdet::gfl/gfl_r101_fpn_ms-2x_coco.py",
        "mmdet::gfl/gfl_r50_fpn_ms-2x_coco.py",
        RESNET18,
        0.01,
        ONE,
    ),
    Detector(
        "fcos",
        "FCOS",
        "dense",
        "mmdet::fcos/fcos_r101-caffe_fpn_gn-head_ms-640-800-2x_coco.py",
        "mmdet::fcos/fcos_r50-caffe_fpn_gn-head_ms-640-800-2x_coco.py",
        RESNET18_FOR_CAFFE,
        0.01,
        TWO,
        clip_norm=35.0,
    ),
)
"""The detectors. Students train with 2x as in FGD, MGD and CrossKD, GFL's with 1x as in LD; teachers have 2x."""


def _schedule(detector: Detector, dataset: str, iterations: int) -> Schedule:
    return Schedule(
        iterations=iterations if dataset == "coco" else KITTI_ITERATIONS,
        batch_size=16,
        lr=detector.lr,
        weight_decay=1e-4,
        warmup=500,
        decay="step",
        clip_norm=detector.clip_norm,
        scale=SIZES[dataset],
        keep_ratio=True,
        flip=0.5,
        validations=4,
    )


def _pairs(dataset: str, detector: Detector) -> list[Pair]:
    """Return the pairs ResNet-101 to ResNet-50 and ResNet-50 to ResNet-18."""
    r101, r50 = Model(config=detector.r101), Model(config=detector.r50)
    steps = {(101, 50): (r101, r50), (50, 18): (r50, Model(config=detector.r50, edits=detector.r18))}
    return [
        Pair(
            name=f"{dataset}-{detector.name}-r{depths[0]}-r{depths[1]}",
            title=f"{detector.title}, ResNet-{depths[0]} to ResNet-{depths[1]}",
            dataset=dataset,
            task="detection",
            family=detector.family,
            teacher=teacher,
            student=student,
            schedule=_schedule(detector, dataset, detector.iterations),
            teacher_schedule=_schedule(detector, dataset, TWO),
            pretrained=True,
        )
        for depths, (teacher, student) in steps.items()
    ]


PAIRS = [pair for dataset in SIZES for detector in DETECTORS for pair in _pairs(dataset, detector)]
