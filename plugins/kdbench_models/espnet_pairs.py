"""Pairs with ESPNet or ESPNet-C as student, from scratch; the teachers start from ImageNet weights."""

from __future__ import annotations

from typing import Any

from kdbench.api import Model, ModelCard, Pair, Schedule
from kdbench_models.espnet_card import ESPNET, ESPNET_C

CAMVID: dict[str, Any] = {
    "batch_size": 16,
    "decay": "poly",
    "scale": (480, 360),
    "resize_range": (0.5, 2.0),
    "crop": (360, 480),
    "flip": 0.5,
    "validations": 5,
}
"""Crops of the original size from images scaled by 0.5 to 2, as in structured KD (Liu et al., CVPR 2019)."""
TEACHER = Schedule(iterations=2500, lr=0.01, weight_decay=5e-4, **CAMVID)
STUDENT = Schedule(iterations=7000, lr=1e-3, weight_decay=5e-4, optimizer="AdamW", warmup=100, **CAMVID)
"""300 epochs, as ESPNet is trained on CamVid."""
DEEPLAB = Model(config="mmseg::mobilenet_v2/mobilenet-v2-d8_deeplabv3plus_4xb2-80k_cityscapes-512x1024.py")


SMALL = {"batch_size": 8, "scale": (240, 180), "crop": (180, 240), "validations": 2}
"""Changes for two cores: half the image size, and a tenth of the images."""


def _camvid(student: ModelCard) -> Pair:
    """Return the pair for a GPU."""
    return Pair(
        name=f"camvid-{student.name}",
        title=f"DeepLabV3+ on MobileNetV2 to {student.title.partition(':')[0]}",
        dataset="camvid",
        task="segmentation",
        family="segmentation",
        teacher=DEEPLAB,
        student=Model(config=student.config),
        schedule=STUDENT,
        teacher_schedule=TEACHER,
        pretrained=True,
    )


def _small(pair: Pair) -> Pair:
    """Return a pair with recipes that two cores can run."""
    recipes = {
        "teacher_schedule": TEACHER.model_copy(update={**SMALL, "iterations": 500}),
        "schedule": STUDENT.model_copy(update={**SMALL, "iterations": 1400}),
    }
    return pair.model_copy(update={**recipes, "name": f"{pair.name}-small", "cpu": True})


FULL = [_camvid(ESPNET), _camvid(ESPNET_C)]
PAIRS = [*FULL, *map(_small, FULL)]
