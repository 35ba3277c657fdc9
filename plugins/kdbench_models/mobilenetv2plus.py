"""MobileNetV2Plus of LightNet (Liu, 2018), the student of structured KD (Liu et al., CVPR 2019) on Cityscapes.

MobileNetV2 at stride 8, all of whose stages are concatenated, weighted by channel and position, processed by
dilated convolutions (ASPP), and refined at stride 4. The decoder's activations are leaky ReLUs with a slope of
0.01.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmseg.models.backbones import MobileNetV2
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d, pad

SLOPE = 0.01
STAGES = (16, 24, 32, 64, 96, 160, 320)
"""Channels of the backbone's maps: one at stride 2, one at stride 4, the others at stride 8."""
DILATIONS = (1, 1, 1, 2, 4, 8, 16)
"""Dilation of all blocks of a stage."""
MIDDLE = 256
PYRAMID = (12, 24, 36)
"""Dilations of the pyramid's branches."""
REDUCTION = 16


@MODELS.register_module()
class MobileNetV2Plus(MobileNetV2):  # type: ignore[misc]
    """The backbone: seven maps, with the channels of ``STAGES``.

    Its first block has an expansion too, from 32 to 32 channels, which ImageNet weights lack: this convolution is
    initialised as the identity.

    Args:
        settings: Arguments of mmseg's MobileNetV2.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(strides=(1, 2, 2, 1, 1, 1, 1), dilations=DILATIONS, **settings)
        for layer, dilation in zip(self.layers, DILATIONS, strict=True):
            dilate(getattr(self, layer), dilation)
        channels = self.conv1.out_channels
        self.expand = ConvModule(channels, channels, 1, norm_cfg=self.norm_cfg, act_cfg=self.act_cfg)
        self.layers.insert(0, "expand")
        self.out_indices = range(1, len(self.layers))

    def init_weights(self) -> None:
        """Initialise the network as mmseg does, and the first block's expansion as the identity."""
        super().init_weights()
        nn.init.dirac_(self.expand.conv.weight)


def dilate(layer: nn.Module, dilation: int) -> None:
    """Set the dilation of all depthwise convolutions of a stage; mmseg only sets that of the first block."""
    for part in layer.modules():
        if isinstance(part, nn.Conv2d) and part.groups > 1:
            part.dilation = part.padding = (dilation, dilation)


class Weighed(nn.Module):
    """Sum of maps weighted by channel, from their means, and by position (SCSE, Roy et al., MICCAI 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inside = channels // REDUCTION
        self.by_channel = nn.Sequential(
            nn.Linear(channels, inside), nn.ReLU(inplace=True), nn.Linear(inside, channels), nn.Sigmoid()
        )
        self.by_position = nn.Sequential(nn.Conv2d(channels, 1, 1, bias=False), nn.Sigmoid())

    def forward(self, maps: Tensor) -> Tensor:
        """Map (B, channels, H, W) to the same shape."""
        weights = self.by_channel(maps.mean((2, 3)))[:, :, None, None]
        output: Tensor = maps * weights + maps * self.by_position(maps)
        return output


def norm_act(channels: int) -> nn.Sequential:
    """Return BatchNorm followed by an activation."""
    return nn.Sequential(nn.BatchNorm2d(channels), nn.LeakyReLU(SLOPE, inplace=True))


class Pyramid(nn.Module):
    """ASPP: the mean, a 1 x 1 convolution and three dilated convolutions, projected to 256 channels."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.norm = norm_act(inputs)
        self.mean = nn.Conv2d(inputs, MIDDLE, 1, bias=False)
        self.branches = nn.ModuleList([nn.Conv2d(inputs, MIDDLE, 1, bias=False)])
        for dilation in PYRAMID:
            self.branches.append(
                nn.Conv2d(inputs, MIDDLE, 3, padding=dilation, dilation=dilation, bias=False)
            )
        parts = len(self.branches) + 1
        self.project = nn.Sequential(
            norm_act(parts * MIDDLE), nn.Conv2d(parts * MIDDLE, MIDDLE, 1, bias=False), nn.Dropout2d(0.2)
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, 256, H, W)."""
        maps = self.norm(maps)
        mean = self.mean(maps.mean((2, 3), keepdim=True)).expand(-1, -1, *maps.shape[-2:])
        output: Tensor = self.project(torch.cat([mean, *(branch(maps) for branch in self.branches)], 1))
        return output


@MODELS.register_module()
class MobileNetV2PlusHead(BaseDecodeHead):  # type: ignore[misc]
    """The decoder of the backbone's seven maps; methods capture the 296 channels that the classifier reads.

    Args:
        settings: Arguments of mmseg's BaseDecodeHead.
    """

    def __init__(self, **settings: Any) -> None:
        channels = MIDDLE + STAGES[1] + STAGES[0]
        own = {
            "in_channels": STAGES,
            "in_index": tuple(range(len(STAGES))),
            "input_transform": "multiple_select",
            "channels": channels,
            "dropout_ratio": 0,
        }
        super().__init__(**(own | settings))
        self.gather = nn.Sequential(Weighed(sum(STAGES)), Pyramid(sum(STAGES)))
        self.refine = nn.Sequential(
            Weighed(channels),
            norm_act(channels),
            nn.Conv2d(channels, channels, 3, padding=2, dilation=2, bias=False),
            norm_act(channels),
        )

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return (B, classes, H / 4, W / 4) logits of the backbone's maps."""
        half, quarter, *eighth = inputs
        pooled = halved(half)
        gathered = self.gather(torch.cat([halved(pooled), halved(quarter), *eighth], 1))
        size = quarter.shape[-2:]
        gathered = interpolate(gathered, size=size, mode="bilinear", align_corners=self.align_corners)
        logits: Tensor = self.cls_seg(self.refine(torch.cat([gathered, quarter, pooled], 1)))
        return logits


def halved(maps: Tensor) -> Tensor:
    """Max-pool 3 x 3 with stride 2; windows begin at even positions, and an odd size is rounded up."""
    return max_pool2d(pad(maps, (0, 2, 0, 2), value=-math.inf), 3, stride=2)
