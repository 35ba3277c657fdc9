"""Cards of segmentors that mmseg lacks, and pairs with them on CamVid."""

from __future__ import annotations

from typing import Any

from kdbench.api import Model, ModelCard, Pair, Schedule
from kdbench_models.espnet_pairs import CAMVID


def _card(name: str, title: str, link: str) -> ModelCard:
    config = f"kdbench_models::configs/{name.replace('-', '_')}.py"
    return ModelCard(name=name, title=title, task="segmentation", config=config, link=link)


MODELS = [
    _card(
        "mobilenetv2plus",
        "MobileNetV2Plus of LightNet (8,301,113 parameters for 19 classes)",
        "https://github.com/ansleliu/LightNet",
    ),
    _card(
        "refinenet-r101",
        "RefineNet on ResNet-101 (118,052,437 parameters for 21 classes)",
        "https://arxiv.org/abs/1611.06612",
    ),
    _card(
        "lw-refinenet-mbv2",
        "Light-Weight RefineNet on MobileNetV2 (3,283,477 parameters for 21 classes)",
        "https://arxiv.org/abs/1810.03272",
    ),
    _card(
        "frrn-a",
        "FRRN-A: a residual stream at full resolution (17,746,739 parameters for 19 classes)",
        "https://arxiv.org/abs/1611.08323",
    ),
    _card(
        "frrn-b",
        "FRRN-B: FRRN-A with one pooling more (24,755,635 parameters for 19 classes)",
        "https://arxiv.org/abs/1611.08323",
    ),
]
CONFIGS = {card.name: card.config for card in MODELS}
PSPNET = "mmseg::pspnet/pspnet_r101-d8_4xb2-40k_cityscapes-512x1024.py"
RECIPE = Schedule(iterations=7000, lr=0.01, weight_decay=5e-4, **CAMVID)
HALF_SIZE = RECIPE.model_copy(update={"scale": (240, 180), "crop": (180, 240)})
"""Recipe with half the image size, as in FRRN's paper, since a stream at full resolution is expensive."""


QUARTER = {"backbone.width": 0.25, "decode_head.in_channels": 12, "decode_head.channels": 12}


def _pair(name: str, title: str, teacher: str, student: Model, schedule: Schedule, **more: Any) -> Pair:
    return Pair(
        name=f"camvid-{name}",
        title=title,
        dataset="camvid",
        task="segmentation",
        family="segmentation",
        teacher=Model(config=teacher),
        student=student,
        schedule=schedule,
        teacher_schedule=schedule,
        **more,
    )


PAIRS = [
    _pair(
        "mobilenetv2plus",
        "PSPNet on ResNet-101 to MobileNetV2Plus",
        PSPNET,
        Model(config=CONFIGS["mobilenetv2plus"]),
        RECIPE,
        pretrained=True,
    ),
    _pair(
        "refinenet",
        "RefineNet on ResNet-101 to Light-Weight RefineNet on MobileNetV2",
        CONFIGS["refinenet-r101"],
        Model(config=CONFIGS["lw-refinenet-mbv2"]),
        RECIPE,
        pretrained=True,
    ),
    _pair(
        "frrn",
        "FRRN-B to FRRN-A with a quarter of its channels, from scratch",
        CONFIGS["frrn-b"],
        Model(config=CONFIGS["frrn-a"], edits=QUARTER),
        HALF_SIZE,
    ),
]
