"""Pairs of mmdet's SSD whose student has a lighter backbone on the same levels, so that maps and anchors match."""

from __future__ import annotations

from kdbench.api import Model, Pair, Schedule
from kdbench_models.mobilenet_pairs import IMAGENET

SSDLITE = "mmdet::ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py"
SSD300 = "mmdet::pascal_voc/ssd300_voc0712.py"
LEVELS = [48, 1280, 512, 256, 256, 128]
"""Channels of SSDLite's levels with a MobileNetV2 of half width, whose last convolution keeps all 1,280."""
IMAGENET_STD = [58.395, 57.12, 57.375]
"""Standard deviation that torchvision's VGG expects; the teacher has Caffe weights and its own normalisation."""


def _ssdlite(dataset: str, *, pretrained: bool) -> Pair:
    """Return the pair of a dataset; with ``pretrained``, only its teacher starts from ImageNet weights."""
    recipe = Schedule(
        iterations=3000,
        batch_size=24,
        optimizer="AdamW",
        lr=1e-3,
        weight_decay=0.05,
        warmup=100,
        clip_norm=10.0,
        scale=(320, 320),
        flip=0.5,
        validations=3,
    )
    half = {
        "backbone.widen_factor": 0.5,
        "neck.in_channels": LEVELS[:2],
        "neck.out_channels": LEVELS,
        "bbox_head.in_channels": LEVELS,
    }
    return Pair(
        name=f"{dataset}-ssdlite",
        title=f"SSDLite, MobileNetV2{' from ImageNet' if pretrained else ''} to half of its width, from scratch",
        dataset=dataset,
        task="detection",
        family="dense",
        teacher=Model(config=SSDLITE, edits={"backbone.init_cfg": IMAGENET} if pretrained else {}),
        student=Model(config=SSDLITE, edits=half),
        schedule=recipe,
        teacher_schedule=recipe,
        pretrained=pretrained,
    )


def _ssd300() -> Pair:
    recipe = Schedule(
        iterations=20_000,
        batch_size=32,
        lr=1e-3,
        weight_decay=5e-4,
        warmup=500,
        decay="step",
        scale=(300, 300),
        flip=0.5,
        validations=4,
    )
    vgg11 = {
        "backbone.depth": 11,
        "backbone.out_feature_indices": [14, 24],
        "backbone.init_cfg": {"type": "Pretrained", "checkpoint": "torchvision://vgg11"},
        "data_preprocessor.std": IMAGENET_STD,
    }
    return Pair(
        name="voc-ssd300-vgg16-vgg11",
        title="SSD300, VGG-16 to VGG-11",
        dataset="voc",
        task="detection",
        family="dense",
        teacher=Model(config=SSD300),
        student=Model(config=SSD300, edits=vgg11),
        schedule=recipe,
        teacher_schedule=recipe,
        pretrained=True,
    )


PAIRS = [_ssdlite("bccd", pretrained=False), _ssdlite("cards", pretrained=True), _ssd300()]
