"""Small models with the other one-stage heads of mmdet, on ResNet-18 at an eighth of its width where they can."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kdbench.pairs.small import pyramid, resnet, strides
from kdbench.specs import Model

WIDTH = 8


def on_pyramid(config: str, **more: Any) -> Callable[[int], Model]:
    """Return what makes a model with a feature pyramid and one convolution in its head."""

    def model(channels: int) -> Model:
        edits = resnet(18, WIDTH) | pyramid(18, WIDTH, channels, 1) | more
        edits |= {
            "neck.add_extra_convs": False,
            "bbox_head.in_channels": channels,
            "bbox_head.feat_channels": channels,
            "bbox_head.stacked_convs": 1,
            "bbox_head.norm_cfg": {"type": "BN", "requires_grad": True},
        }
        return Model(config=f"mmdet::{config}", edits=edits)

    return model


def ssd(channels: int) -> Model:
    """SSDLite on MobileNetV2 at a quarter of its width; at 64 pixels its last four maps are one cell each."""
    widths = [24, 1280, *[channels] * 4]
    edits = {
        "backbone.widen_factor": 0.25,
        "neck.in_channels": widths[:2],
        "neck.out_channels": widths,
        "bbox_head.in_channels": widths,
        "bbox_head.anchor_generator.strides": [16, 32, 64, 64, 64, 64],
        "bbox_head.anchor_generator.min_sizes": [10, 20, 30, 40, 50, 58],
        "bbox_head.anchor_generator.max_sizes": [20, 30, 40, 50, 58, 64],
    }
    return Model(config="mmdet::ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py", edits=edits)


def as_it_is(config: str) -> Callable[[int], Model]:
    """Return what makes a model of a config's own width, the same for teacher and student."""
    return lambda _channels: Model(config=f"mmdet::{config}")


ANCHORS = {"bbox_head.anchor_generator.strides": strides(1)}
ONE_STAGE: dict[str, Callable[[int], Model]] = {
    "ssd": ssd,
    "atss": on_pyramid("atss/atss_r50_fpn_1x_coco.py", **ANCHORS),
    "paa": on_pyramid("paa/paa_r50_fpn_1x_coco.py", **ANCHORS),
    "vfnet": on_pyramid(
        "vfnet/vfnet_r50_fpn_1x_coco.py",
        **{
            "bbox_head.strides": strides(1),
            "bbox_head.regress_ranges": [[-1, 32], [32, 64], [64, 1e8]],
            "bbox_head.anchor_generator": {
                "type": "AnchorGenerator",
                "ratios": [1.0],
                "octave_base_scale": 8,
                "scales_per_octave": 1,
                "center_offset": 0.0,
                "strides": strides(1),
            },
        },
    ),
    "tood": on_pyramid("tood/tood_r50_fpn_1x_coco.py", **ANCHORS),
    "rtmdet": as_it_is("rtmdet/rtmdet_tiny_8xb32-300e_coco.py"),
    "yolox": as_it_is("yolox/yolox_tiny_8xb8-300e_coco.py"),
    "yolov3": as_it_is("yolo/yolov3_mobilenetv2_8xb24-320-300e_coco.py"),
}
