"""FRRN-A and FRRN-B (Pohlen et al., CVPR 2017): a residual stream at full resolution and a pooled stream.

Convolutions of 3 x 3 and 5 x 5 have no bias. Pooling rounds odd sizes up, and upsampled maps are cropped.
"""

from __future__ import annotations

from typing import Any

import torch
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d

BASE, LANE = 48, 32
"""Channels of the first and last convolutions, and of the residual stream between them."""
DOWN = ((3, 96, 2), (4, 192, 4), (2, 384, 8), (2, 384, 16))
UP = ((2, 192, 8), (2, 192, 4), (2, 96, 2))
"""Stages: number of units, channels and stride of the pooled stream, which is pooled or upsampled before each."""
PLANS = {"a": (DOWN, UP), "b": ((*DOWN, (2, 384, 32)), ((2, 192, 16), *UP))}


def convolution(inputs: int, outputs: int, size: int = 3) -> nn.Sequential:
    """Return a convolution that keeps the size of its input, followed by BatchNorm."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False), nn.BatchNorm2d(outputs)
    )


class ResidualUnit(nn.Module):
    """Two convolutions with a shortcut, which is a projection if the channels differ.

    Args:
        inputs: Channels of the input.
        outputs: Channels of the output.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        same = inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, bias=False)
        self.change = nn.Sequential(
            convolution(inputs, outputs), nn.ReLU(inplace=True), convolution(outputs, outputs)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H, W)."""
        output: Tensor = self.shortcut(inputs) + self.change(inputs)
        return output


class FullResolutionUnit(nn.Module):
    """Unit that reads and updates both streams.

    Args:
        inputs: Input channels of the pooled stream.
        outputs: Output channels of the pooled stream.
        lane: Channels of the residual stream.
        stride: Stride of the pooled stream.
    """

    def __init__(self, inputs: int, outputs: int, lane: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.merge = nn.Sequential(
            convolution(inputs + lane, outputs),
            nn.ReLU(inplace=True),
            convolution(outputs, outputs),
            nn.ReLU(inplace=True),
        )
        self.back = nn.Conv2d(outputs, lane, 1)

    def forward(self, pooled: Tensor, lane: Tensor) -> tuple[Tensor, Tensor]:
        """Update the streams (B, inputs, H / stride, W / stride) and (B, lane, H, W); sizes do not change."""
        seen = max_pool2d(lane, self.stride, ceil_mode=True)
        merged = self.merge(torch.cat([pooled, seen], 1))
        change = interpolate(self.back(merged), scale_factor=self.stride, mode="nearest")
        return merged, lane + change[..., : lane.shape[-2], : lane.shape[-1]]


@MODELS.register_module()
class FRRN(BaseModule):  # type: ignore[misc]
    """FRRN without its classifier, as a backbone for mmseg.

    Args:
        plan: ``a`` (17.75 million parameters with 19 classes) or ``b`` (24.76).
        width: Factor on all channels.
        init_cfg: Initialisation config of mmengine.
    """

    def __init__(self, plan: str = "a", width: float = 1.0, init_cfg: dict[str, Any] | None = None) -> None:
        super().__init__(init_cfg)
        down, up = PLANS[plan]
        base, lane = round(BASE * width), round(LANE * width)
        self.stem = nn.Sequential(
            convolution(3, base, 5), nn.ReLU(inplace=True), *(ResidualUnit(base, base) for _ in range(3))
        )
        self.split = nn.Conv2d(base, lane, 1, bias=False)
        channels, stages = base, []
        for units, full, stride in (*down, *up):
            stages.append(nn.ModuleList())
            for _ in range(units):
                stages[-1].append(FullResolutionUnit(channels, round(full * width), lane, stride))
                channels = round(full * width)
        self.down, self.up = nn.ModuleList(stages[: len(down)]), nn.ModuleList(stages[len(down) :])
        self.end = nn.Sequential(
            ResidualUnit(channels + lane, base), *(ResidualUnit(base, base) for _ in range(2))
        )

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Map (B, 3, H, W) to the pooled stream at strides 2, 4, ... and the classifier's input, at stride 1."""
        pooled = self.stem(image)
        lane, maps = self.split(pooled), []
        for stage in self.down:
            pooled, lane = through(stage, max_pool2d(pooled, 2, ceil_mode=True), lane)
            maps.append(pooled)
        for stage, finer in zip(self.up, maps[-2::-1], strict=True):
            pooled, lane = through(stage, enlarged(pooled, finer), lane)
        return (*maps, self.end(torch.cat([enlarged(pooled, lane), lane], 1)))


def through(units: nn.Module, pooled: Tensor, lane: Tensor) -> tuple[Tensor, Tensor]:
    """Apply the units of a stage to both streams."""
    for unit in units.children():
        pooled, lane = unit(pooled, lane)
    return pooled, lane


def enlarged(maps: Tensor, wanted: Tensor) -> Tensor:
    """Upsample maps bilinearly to the size of others."""
    return interpolate(maps, size=wanted.shape[-2:], mode="bilinear", align_corners=False)
