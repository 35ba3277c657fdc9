"""Small models with the networks of kdbench_models; those that cannot be narrow have their own width."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kdbench.pairs.small import FEW_PROPOSALS, resnet, stages, strides
from kdbench.specs import Model

WIDTH = 8
GOOGLENET_4E = (256, 320, 128, 128)
"""Channels of the branches of the map that R-FCN reads."""
SPARSE = {"rpn_head.anchor_generator.scales": [2], **FEW_PROPOSALS}


def of(config: str, edits: dict[str, Any] | None = None) -> Model:
    return Model(config=f"kdbench_models::configs/{config}.py", edits=edits or {})


def lite(channels: int) -> Model:
    edits = {
        "neck.num_outs": 3,
        "bbox_head.anchor_generator.strides": strides(1),
        "neck.out_channels": channels,
        "bbox_head.in_channels": channels,
        "bbox_head.feat_channels": channels,
        "bbox_head.stacked_convs": 1,
        "bbox_head.norm_cfg": {"type": "BN", "requires_grad": True},
    }
    return of("gfl_efficientnet_lite0", edits)


def rfcn(config: str, last: int, rpn: int, channels: int, backbone: dict[str, Any]) -> Model:
    """R-FCN whose last map has ``last`` channels and whose RPN reads ``rpn``."""
    edits = {
        "neck.in_channels": [last],
        "neck.out_channels": channels,
        "rpn_head.in_channels": rpn,
        "rpn_head.feat_channels": channels,
        "roi_head.bbox_head.in_channels": channels,
    }
    return of(config, backbone | edits | SPARSE)


def rfcn_resnet(channels: int) -> Model:
    *_, rpn, last = stages(18, WIDTH)
    trained = {"backbone.norm_cfg": {"type": "BN", "requires_grad": True}}
    return rfcn("rfcn_r50", last, rpn, channels, resnet(18, WIDTH) | trained)


def rfcn_vgg(channels: int) -> Model:
    last = channels
    return rfcn("rfcn_vgg16", last, last, channels, {"backbone.width": channels / 512})


def rfcn_googlenet(channels: int) -> Model:
    width = channels / 128
    last = sum(round(count * width) for count in GOOGLENET_4E)
    return rfcn("rfcn_googlenet", last, last, channels, {"backbone.width": width})


def refinenet(channels: int) -> Model:
    """RefineNet for the teacher, Light-Weight RefineNet for the student."""
    edits = resnet(18, WIDTH) | {
        "decode_head.in_channels": stages(18, WIDTH),
        "decode_head.channels": channels,
        "decode_head.coarsest_channels": 2 * channels,
        "decode_head.light": channels == 16,
    }
    return of("refinenet_r101", edits)


def frrn(channels: int) -> Model:
    width = channels / 96
    base = round(48 * width)
    edits = {"backbone.width": width, "decode_head.in_channels": base, "decode_head.channels": base}
    return of("frrn_a", edits)


NETWORKS: dict[str, Callable[[int], Model]] = {
    "lite": lite,
    "rfcn": rfcn_resnet,
    "vgg": rfcn_vgg,
    "googlenet": rfcn_googlenet,
    "mobilenetv2plus": lambda _channels: of("mobilenetv2plus"),
    "refinenet": refinenet,
    "frrn": frrn,
}
NETWORK_FAMILIES = {
    "lite": "dense",
    "rfcn": "two-stage",
    "vgg": "two-stage",
    "googlenet": "two-stage",
    "mobilenetv2plus": "segmentation",
    "refinenet": "segmentation",
    "frrn": "segmentation",
    "espnet": "segmentation",
}
