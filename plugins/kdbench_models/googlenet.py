"""GoogLeNet with BatchNorm at any width: our reading of the 1/n-Inception of Mimic (Li et al., CVPR 2017).

The paper keeps the depth and divides the channels of each convolution by n, but does not say which Inception it
starts from. This one is torchvision's, whose 5 x 5 convolutions are in fact 3 x 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor
from torch.nn.functional import max_pool2d
from torchvision.models.googlenet import BasicConv2d, Inception

STAGES = (
    {"3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64)},
    {
        "4a": (192, 96, 208, 16, 48, 64),
        "4b": (160, 112, 224, 24, 64, 64),
        "4c": (128, 128, 256, 24, 64, 64),
        "4d": (112, 144, 288, 32, 64, 64),
        "4e": (256, 160, 320, 32, 128, 128),
    },
    {"5a": (256, 160, 320, 32, 128, 128), "5b": (384, 192, 384, 48, 128, 128)},
)
"""Stages after the stem: block -> channels of 1 x 1, before 3 x 3, 3 x 3, before 5 x 5, 5 x 5, after pooling."""
POOLS = (3, 3, 2)
"""Size of the pooling before each of these stages."""


@MODELS.register_module()
class ScaledGoogLeNet(BaseModule):  # type: ignore[misc]
    """GoogLeNet without its classifiers, for mmdet and mmseg; at width 1 torchvision's weights load.

    Args:
        width: Factor on the channels of each convolution: 1/n for 1/n-Inception.
        out_indices: Stages whose maps are returned: 0, the stem, at stride 4, and 1 to 3 at 8, 16 and 32. Stages
            after the last of them are not built.
        init_cfg: Initialisation config of mmengine.
    """

    def __init__(
        self, width: float = 1.0, out_indices: Sequence[int] = (2,), init_cfg: dict[str, Any] | None = None
    ) -> None:
        super().__init__(init_cfg)
        self.out_indices = tuple(out_indices)
        narrow, inputs = scaled((64, 192), width)
        self.conv1 = BasicConv2d(3, narrow, kernel_size=7, stride=2, padding=3)
        self.conv2 = BasicConv2d(narrow, narrow, kernel_size=1)
        self.conv3 = BasicConv2d(narrow, inputs, kernel_size=3, padding=1)
        self.stages = STAGES[: max(out_indices)]
        for blocks in self.stages:
            for name, channels in blocks.items():
                row = scaled(channels, width)
                self.add_module(f"inception{name}", Inception(inputs, *row))
                inputs = row[0] + row[2] + row[4] + row[5]

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Map (B, 3, H, W) to the chosen maps, finest first."""
        value = self.conv3(self.conv2(halved(self.conv1(image), 3)))
        maps = [value]
        for blocks, size in zip(self.stages, POOLS, strict=False):
            value = halved(value, size)
            for name in blocks:
                value = getattr(self, f"inception{name}")(value)
            maps.append(value)
        return tuple(maps[index] for index in self.out_indices)


def scaled(channels: Sequence[int], width: float) -> list[int]:
    """Return numbers of channels scaled by a width, each at least 1."""
    return [max(1, round(count * width)) for count in channels]


def halved(maps: Tensor, size: int) -> Tensor:
    """Max-pool maps with stride 2."""
    return max_pool2d(maps, size, stride=2, ceil_mode=True)
