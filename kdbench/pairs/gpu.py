"""Full-size pairs, from ImageNet weights, for GPUs."""

from __future__ import annotations

from typing import Any

from kdbench.specs import Model, Pair, Schedule

VOC_ITERATIONS = {"voc": 12_400, "voc07": 3_760}
"""12 epochs of each training set."""

VOC_SCHEDULE = Schedule(
    iterations=VOC_ITERATIONS["voc"],
    batch_size=16,
    lr=0.01,
    weight_decay=1e-4,
    warmup=500,
    decay="step",
    scale=(1000, 600),
    keep_ratio=True,
    flip=0.5,
    validations=4,
)
"""Recipe with the learning rate of mmdet's VOC configs."""

CAMVID_SCHEDULE = Schedule(
    iterations=20_000,
    batch_size=8,
    lr=0.01,
    weight_decay=5e-4,
    decay="poly",
    scale=(480, 360),
    resize_range=(0.5, 2.0),
    crop=(360, 480),
    flip=0.5,
    validations=5,
)
"""The recipe of structured KD (Liu et al., CVPR 2019) at CamVid's size."""

FASTER = "mmdet::faster_rcnn/faster-rcnn_r{}_fpn_1x_coco.py"
RESNET18: dict[str, Any] = {
    "backbone.depth": 18,
    "backbone.init_cfg": {"type": "Pretrained", "checkpoint": "torchvision://resnet18"},
    "neck.in_channels": [64, 128, 256, 512],
}
HALF_RESNET50: dict[str, Any] = {
    "backbone.base_channels": 32,
    "backbone.stem_channels": 32,
    "backbone.frozen_stages": -1,
    "backbone.norm_eval": False,
    "backbone.init_cfg": None,
    "neck.in_channels": [128, 256, 512, 1024],
}
"""Edits to a width for which there are no published weights: the backbone starts from scratch."""
TINY_RESNET18: dict[str, Any] = {
    "backbone.depth": 18,
    "backbone.base_channels": 4,
    "backbone.stem_channels": 4,
    "backbone.frozen_stages": -1,
    "backbone.norm_eval": False,
    "backbone.init_cfg": None,
    "neck.in_channels": [4, 8, 16, 32],
    "neck.out_channels": 16,
    "rpn_head.in_channels": 16,
    "rpn_head.feat_channels": 16,
    "roi_head.bbox_roi_extractor.out_channels": 16,
    "roi_head.bbox_head.in_channels": 16,
    "roi_head.bbox_head.fc_out_channels": 64,
}
"""A sixteenth of the width throughout, from scratch: quantization mimic's student (Wei et al., ECCV 2018)."""


def _voc(dataset: str, name: str, title: str, family: Any, teacher: Model, student: Model) -> Pair:
    schedule = VOC_SCHEDULE.model_copy(update={"iterations": VOC_ITERATIONS[dataset]})
    return Pair(
        name=f"{dataset}-{name}",
        title=title,
        dataset=dataset,
        task="detection",
        family=family,
        teacher=teacher,
        student=student,
        schedule=schedule,
        teacher_schedule=schedule,
        pretrained=True,
    )


def _camvid(name: str, title: str, teacher: str, student: str) -> Pair:
    return Pair(
        name=name,
        title=title,
        dataset="camvid",
        task="segmentation",
        family="segmentation",
        teacher=Model(config=teacher),
        student=Model(config=student),
        schedule=CAMVID_SCHEDULE,
        teacher_schedule=CAMVID_SCHEDULE,
        pretrained=True,
    )


R101, R50 = Model(config=FASTER.format(101)), Model(config=FASTER.format(50))

MODELS_ON_VOC: list[tuple[str, str, str, Model, Model]] = [
    ("faster-rcnn-r101-r50", "Faster R-CNN, ResNet-101 to ResNet-50", "two-stage", R101, R50),
    (
        "faster-rcnn-r101-r18",
        "Faster R-CNN, ResNet-101 to ResNet-18",
        "two-stage",
        R101,
        Model(config=FASTER.format(50), edits=RESNET18),
    ),
    (
        "faster-rcnn-r50-half",
        "Faster R-CNN, ResNet-50 to ResNet-50 at half width",
        "two-stage",
        R50,
        Model(config=FASTER.format(50), edits=HALF_RESNET50),
    ),
    (
        "faster-rcnn-r50-tiny",
        "Faster R-CNN, ResNet-50 to ResNet-18 at 1/16 width",
        "two-stage",
        R50,
        Model(config=FASTER.format(50), edits=TINY_RESNET18),
    ),
    (
        "retinanet-r101-r50",
        "RetinaNet, ResNet-101 to ResNet-50",
        "dense",
        Model(config="mmdet::retinanet/retinanet_r101_fpn_1x_coco.py"),
        Model(config="mmdet::retinanet/retinanet_r50_fpn_1x_coco.py"),
    ),
    (
        "gfl-r101-r50",
        "GFL, ResNet-101 to ResNet-50",
        "dense",
        Model(config="mmdet::gfl/gfl_r101_fpn_ms-2x_coco.py"),
        Model(config="mmdet::gfl/gfl_r50_fpn_1x_coco.py"),
    ),
]

PAIRS = [
    *(_voc(dataset, *models) for dataset in VOC_ITERATIONS for models in MODELS_ON_VOC),
    _camvid(
        "camvid-pspnet-r101-r18",
        "PSPNet, ResNet-101 to ResNet-18",
        "mmseg::pspnet/pspnet_r101-d8_4xb2-40k_cityscapes-512x1024.py",
        "mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py",
    ),
    _camvid(
        "camvid-deeplabv3plus-r101-r18",
        "DeepLabV3+, ResNet-101 to ResNet-18",
        "mmseg::deeplabv3plus/deeplabv3plus_r101-d8_4xb2-40k_cityscapes-512x1024.py",
        "mmseg::deeplabv3plus/deeplabv3plus_r18-d8_4xb2-80k_cityscapes-512x1024.py",
    ),
]
