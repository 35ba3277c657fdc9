"""Cards of R-FCN on three backbones, and pairs with them."""

from __future__ import annotations

from typing import Any

from kdbench.api import Model, ModelCard, Pair, Schedule
from kdbench_models.mobilenet_pairs import recipe

LINK = "https://arxiv.org/abs/1605.06409"
CITATION = """\
@inproceedings{dai2016rfcn,
  title={{R-FCN}: Object Detection via Region-based Fully Convolutional Networks},
  author={Dai, Jifeng and Li, Yi and He, Kaiming and Sun, Jian},
  booktitle={NeurIPS},
  year={2016}
}"""
TITLES = {
    "rfcn-r50": "R-FCN on ResNet-50, dilated to stride 16",
    "rfcn-vgg16": "R-FCN on VGG-16 with BatchNorm",
    "rfcn-vgg16-1-32": "R-FCN on VGG-1-32: a 32nd of VGG-16's channels, as in quantization mimic",
    "rfcn-googlenet": "R-FCN on GoogLeNet with BatchNorm",
    "rfcn-googlenet-1-4": "R-FCN on GoogLeNet with a quarter of its channels: our reading of Mimic's 1/4-Inception",
}
MODELS = [
    ModelCard(
        name=name,
        title=title,
        task="detection",
        config=f"kdbench_models::configs/{name.replace('-', '_')}.py",
        link=LINK,
        citation=CITATION,
    )
    for name, title in TITLES.items()
]
CONFIGS = {card.name: card.config for card in MODELS}

SMALL_OBJECTS: dict[str, Any] = {
    "rpn_head.anchor_generator.scales": [1, 2, 4],
    "roi_head.bbox_roi_extractor.roi_layer": {"type": "PSRoIAlign", "output_size": 7, "sampling_ratio": 2},
    "train_cfg.rpn_proposal.nms_pre": 600,
    "train_cfg.rpn_proposal.max_per_img": 300,
    "train_cfg.rcnn.sampler.num": 128,
    "test_cfg.rpn.nms_pre": 600,
    "test_cfg.rpn.max_per_img": 300,
}
"""Edits for small objects: BCCD's blood cells at 320 x 240 are 14 to 60 pixels wide, and the maps' stride is 16."""
VGG_1_4: dict[str, Any] = {
    "backbone.width": 0.25,
    "backbone.init_cfg": None,
    "neck.in_channels": [128],
    "neck.out_channels": 256,
    "rpn_head.in_channels": 128,
    "rpn_head.feat_channels": 128,
    "roi_head.bbox_head.in_channels": 256,
}
BCCD = recipe(1000, (320, 240), 8, lr=1e-3)
VOC = Schedule(
    iterations=12_400,
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
"""12 epochs of VOC 2007 + 2012."""
R101: dict[str, Any] = {
    "backbone.depth": 101,
    "backbone.init_cfg": {"type": "Pretrained", "checkpoint": "open-mmlab://detectron2/resnet101_caffe"},
}


def _pair(name: str, title: str, teacher: Model, student: Model, schedule: Schedule, **more: Any) -> Pair:
    return Pair(
        name=name,
        title=f"R-FCN, {title}",
        dataset=name.partition("-")[0],
        task="detection",
        family="two-stage",
        teacher=teacher,
        student=student,
        schedule=schedule,
        teacher_schedule=schedule,
        **more,
    )


PAIRS = [
    _pair(
        "bccd-rfcn-vgg",
        "VGG-16 from a quarter to a 32nd of its channels, from scratch",
        Model(config=CONFIGS["rfcn-vgg16"], edits=VGG_1_4 | SMALL_OBJECTS),
        Model(config=CONFIGS["rfcn-vgg16-1-32"], edits=SMALL_OBJECTS),
        BCCD,
    ),
    _pair(
        "bccd-rfcn-googlenet",
        "GoogLeNet to a quarter of its channels, from scratch",
        Model(config=CONFIGS["rfcn-googlenet"], edits=SMALL_OBJECTS),
        Model(config=CONFIGS["rfcn-googlenet-1-4"], edits=SMALL_OBJECTS),
        BCCD,
    ),
    _pair(
        "voc-rfcn-r101-r50",
        "ResNet-101 to ResNet-50",
        Model(config=CONFIGS["rfcn-r50"], edits=R101),
        Model(config=CONFIGS["rfcn-r50"]),
        VOC,
        pretrained=True,
    ),
]
