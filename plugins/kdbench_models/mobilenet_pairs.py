"""Pairs of detectors on small datasets: teachers with MobileNetV2 from ImageNet, students from scratch."""

from __future__ import annotations

from typing import Any

from kdbench.api import Model, Pair, Schedule, narrow

FASTER_RCNN = "mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"
GFL = "mmdet::gfl/gfl_r50_fpn_1x_coco.py"
IMAGENET = {"type": "Pretrained", "checkpoint": "open-mmlab://mmdet/mobilenet_v2"}
BATCH_NORM: dict[str, Any] = {"type": "BN", "requires_grad": True}
MOBILENET: dict[str, Any] = {
    "backbone": {
        "type": "MobileNetV2",
        "out_indices": [1, 2, 4, 6],
        "norm_cfg": BATCH_NORM,
        "init_cfg": IMAGENET,
    },
    "neck.in_channels": [24, 32, 96, 320],
}
"""Edits that replace a ResNet by MobileNetV2, at strides 4 to 32."""
SIZES = {"bccd": (640, 480), "cards": (640, 480), "deeppcb": (640, 640)}
LENGTHS = {"bccd": (600, 600), "cards": (1000, 1000), "deeppcb": (2000, 2000)}
"""Dataset -> iterations of the teacher and of the students, on a GPU."""


def resnet18(config: str, width: int) -> Model:
    """Return a detector with a narrow ResNet-18. A BatchNorm in the neck lets it learn without ImageNet weights."""
    stages = [width * 2**stage for stage in range(4)]
    edits = {"backbone.depth": 18, "neck.in_channels": stages, "neck.norm_cfg": BATCH_NORM}
    return narrow(config, width, edits)


def recipe(iterations: int, scale: tuple[int, int], batch_size: int, lr: float = 5e-4) -> Schedule:
    """Return a schedule of AdamW."""
    return Schedule(
        iterations=iterations,
        batch_size=batch_size,
        optimizer="AdamW",
        lr=lr,
        weight_decay=0.05,
        warmup=100,
        clip_norm=10.0,
        scale=scale,
        flip=0.5,
        validations=2,
    )


def pairs(dataset: str, name: str, title: str, config: str, width: int) -> list[Pair]:
    """Return a pair with a recipe for a GPU, and one for two cores: half the image size, a third of the length.

    Args:
        dataset: Name of the dataset.
        name: Name of the pair for a GPU; that of the other pair ends in ``-small``.
        title: Title of the detector.
        config: Config of the detector with ResNet-50.
        width: Channels after the stem of the student's ResNet-18.
    """
    width_of, height_of = SIZES[dataset]
    sizes = {"": ((width_of, height_of), 16, 1), "-small": ((width_of // 2, height_of // 2), 8, 3)}
    return [
        Pair(
            name=f"{name}{ending}",
            title=f"{title}, MobileNetV2 from ImageNet to ResNet-18 with {width} base channels from scratch",
            dataset=dataset,
            task="detection",
            family="two-stage" if config == FASTER_RCNN else "dense",
            teacher=Model(config=config, edits=MOBILENET),
            student=resnet18(config, width),
            teacher_schedule=recipe(LENGTHS[dataset][0] // part, scale, batch_size),
            schedule=recipe(LENGTHS[dataset][1] // part, scale, batch_size),
            pretrained=True,
            cpu=ending == "-small",
        )
        for ending, (scale, batch_size, part) in sizes.items()
    ]


PAIRS = [
    *pairs("bccd", "bccd-mbv2", "Faster R-CNN", FASTER_RCNN, 16),
    *pairs("cards", "cards-mbv2", "Faster R-CNN", FASTER_RCNN, 16),
    *pairs("deeppcb", "deeppcb-gfl-mbv2", "GFL", GFL, 8),
]
