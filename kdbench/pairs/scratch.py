"""Full-width pairs that train from scratch in minutes on one GPU, and so need no downloaded weights."""

from __future__ import annotations

from typing import Any

from kdbench.pairs.recipes import adamw
from kdbench.pairs.small import resnet, stages
from kdbench.specs import Family, Model, Pair

CAMVID = (480, 360)
BCCD = (640, 480)
FULL_WIDTH = 64
LR = 5e-4


def trained_resnet(depth: int) -> dict[str, Any]:
    """Return the edits for a full-width ResNet in a detector: no stage is frozen and every BatchNorm trains."""
    return resnet(depth, FULL_WIDTH) | {"neck.in_channels": stages(depth, FULL_WIDTH)}


def faster_rcnn(depth: int) -> Model:
    """Return Faster R-CNN with FPN. A BatchNorm in the neck lets it learn without ImageNet weights."""
    edits = trained_resnet(depth) | {"neck.norm_cfg": {"type": "BN", "requires_grad": True}}
    return Model(config="mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py", edits=edits)


def gfl(depth: int) -> Model:
    """Return GFL with FPN, whose head has a GroupNorm."""
    return Model(config="mmdet::gfl/gfl_r50_fpn_1x_coco.py", edits=trained_resnet(depth))


def pspnet(config: str) -> Model:
    """Return PSPNet from mmseg's config, which freezes nothing."""
    return Model(config=f"mmseg::pspnet/{config}_cityscapes-512x1024.py")


def _pair(
    name: str, title: str, family: Family, models: tuple[Model, Model], length: tuple[int, int]
) -> Pair:
    """Return a pair; ``models`` and ``length`` (iterations) have the teacher's value first."""
    dataset = name.split("-")[0]
    scale = CAMVID if dataset == "camvid" else BCCD
    return Pair(
        name=f"{name}-r50-r18-scratch",
        title=f"{title}, ResNet-50 to ResNet-18 at full width, from scratch",
        dataset=dataset,
        task="segmentation" if family == "segmentation" else "detection",
        family=family,
        teacher=models[0],
        student=models[1],
        teacher_schedule=adamw(length[0], LR, scale, flip=0.5),
        schedule=adamw(length[1], LR, scale, flip=0.5),
    )


PAIRS = [
    _pair(
        "camvid-pspnet",
        "PSPNet",
        "segmentation",
        (pspnet("pspnet_r50-d8_4xb2-40k"), pspnet("pspnet_r18-d8_4xb2-80k")),
        (900, 500),
    ),
    _pair("bccd-faster-rcnn", "Faster R-CNN", "two-stage", (faster_rcnn(50), faster_rcnn(18)), (600, 400)),
    _pair("bccd-gfl", "GFL", "dense", (gfl(50), gfl(18)), (600, 400)),
]
