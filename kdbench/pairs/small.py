"""Small models as edits to OpenMMLab's own configs: narrow ResNets, three pyramid levels, light heads.

All train from scratch, so every BatchNorm trains and no stage is frozen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from kdbench.specs import Model

Edits = dict[str, Any]
SCALE_OF_ANCHORS = 4
"""Side of an anchor, in strides; it is small since the images of these pairs have small objects."""
FEW_PROPOSALS = {
    "train_cfg.rpn.sampler.num": 64,
    "train_cfg.rpn_proposal.nms_pre": 100,
    "train_cfg.rpn_proposal.max_per_img": 64,
    "train_cfg.rcnn.sampler.num": 32,
    "test_cfg.rpn.nms_pre": 100,
    "test_cfg.rpn.max_per_img": 64,
}
"""Edits that reduce the numbers of samples and proposals of a two-stage detector, for small images."""
SMALLER_ANCHORS = (2, 4)
"""Anchors for objects down to 14 pixels, which an RPN would miss with larger anchors only, as it matches by IoU."""


def resnet(depth: int, width: int) -> Edits:
    """Return a ResNet trained from scratch with ``width`` channels after the stem (64 is full width)."""
    return {
        "backbone.depth": depth,
        "backbone.base_channels": width,
        "backbone.stem_channels": width,
        "backbone.frozen_stages": -1,
        "backbone.norm_eval": False,
    }


def stages(depth: int, width: int) -> list[int]:
    """Return the channels of the four stages."""
    expansion = 4 if depth >= 50 else 1
    return [width * 2**stage * expansion for stage in range(4)]


def pyramid(depth: int, width: int, channels: int, first: int) -> Edits:
    """Return a feature pyramid of three levels; ``first`` is 0 for strides 4, 8, 16 and 1 for 8, 16, 32."""
    used = stages(depth, width)[: first + 3]
    return {
        "backbone.num_stages": len(used),
        "backbone.strides": [1, 2, 2, 2][: len(used)],
        "backbone.dilations": [1] * len(used),
        "backbone.out_indices": list(range(len(used))),
        "neck.in_channels": used,
        "neck.out_channels": channels,
        "neck.start_level": first,
        "neck.num_outs": 3,
        "data_preprocessor.pad_size_divisor": 1,
    }


def strides(first: int) -> list[int]:
    """Return the strides of the three levels."""
    return [4 * 2 ** (first + level) for level in range(3)]


def gfl(depth: int, width: int, channels: int, *, first: int, norm: Literal["head", "neck"]) -> Model:
    """Return GFL (Li et al., NeurIPS 2020) with two convolutions in its head.

    Args:
        depth: Depth of the ResNet.
        width: Channels after the ResNet's stem.
        channels: Channels of the pyramid and the head.
        first: 0 for strides 4, 8, 16 and 1 for 8, 16, 32.
        norm: Place of the BatchNorm after the backbone. ``head``: shared by the levels, which learns fast, but is
            tested with a mixture of the levels' statistics, so that seeds differ by tens of points if there are few
            objects. ``neck``: one per level, and none in the head.
    """
    batch_norm = {"type": "BN", "requires_grad": True}
    edits = resnet(depth, width) | pyramid(depth, width, channels, first)
    edits |= {
        "neck.add_extra_convs": False,
        "bbox_head.in_channels": channels,
        "bbox_head.feat_channels": channels,
        "bbox_head.stacked_convs": 2,
        "bbox_head.norm_cfg": batch_norm if norm == "head" else None,
        "bbox_head.anchor_generator.octave_base_scale": SCALE_OF_ANCHORS,
        "bbox_head.anchor_generator.strides": strides(first),
        "test_cfg.nms_pre": 300,
    }
    if norm == "neck":
        edits["neck.norm_cfg"] = batch_norm
    return Model(config="mmdet::gfl/gfl_r50_fpn_1x_coco.py", edits=edits)


def faster_rcnn(
    depth: int,
    width: int,
    channels: int,
    *,
    first: int,
    hidden: int,
    anchors: Sequence[int] = (SCALE_OF_ANCHORS,),
) -> Model:
    """Return Faster R-CNN with FPN, 32 RoIs per image in training and a hidden layer of ``hidden`` units."""
    edits = resnet(depth, width) | pyramid(depth, width, channels, first)
    edits |= {
        "neck.norm_cfg": {"type": "BN", "requires_grad": True},
        "rpn_head.in_channels": channels,
        "rpn_head.feat_channels": channels,
        "rpn_head.anchor_generator.scales": list(anchors),
        "rpn_head.anchor_generator.strides": strides(first),
        "roi_head.bbox_roi_extractor.out_channels": channels,
        "roi_head.bbox_roi_extractor.featmap_strides": strides(first),
        "roi_head.bbox_roi_extractor.finest_scale": 28,
        "roi_head.bbox_roi_extractor.roi_layer.output_size": 5,
        "roi_head.bbox_roi_extractor.roi_layer.sampling_ratio": 2,
        "roi_head.bbox_head.roi_feat_size": 5,
        "roi_head.bbox_head.in_channels": channels,
        "roi_head.bbox_head.fc_out_channels": hidden,
        "roi_head.bbox_head.reg_class_agnostic": True,
        **FEW_PROPOSALS,
    }
    return Model(config="mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py", edits=edits)


def pspnet(depth: int, width: int, channels: int, class_weight: Sequence[float]) -> Model:
    """Return PSPNet (Zhao et al., CVPR 2017) on three stages at stride 8, without an auxiliary head.

    Args:
        depth: Depth of the ResNet.
        width: Channels after the ResNet's stem.
        channels: Channels of the head.
        class_weight: Weight of each class in the loss, so that large classes do not dominate.
    """
    edits: Edits = resnet(depth, width) | {
        "backbone.type": "ResNet",
        "backbone.num_stages": 3,
        "backbone.out_indices": [0, 1, 2],
        "backbone.strides": [1, 2, 1],
        "backbone.dilations": [1, 1, 2],
        "decode_head.in_index": 2,
        "decode_head.in_channels": stages(depth, width)[2],
        "decode_head.channels": channels,
        "auxiliary_head": None,
        "decode_head.loss_decode.class_weight": list(class_weight),
    }
    return Model(config="mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py", edits=edits)
