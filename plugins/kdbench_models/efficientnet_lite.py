"""EfficientNet-Lite 0, 1 and 2 (TensorFlow's, 2020): EfficientNets without squeeze-and-excitation, with ReLU6.

Stem and head have the same width, and the first and last stage the same depth, in all sizes. As in TensorFlow,
convolutions use minimal padding, and an odd row of zeros is added at the bottom, an odd column at the right.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from mmcv.cnn.bricks import Conv2dAdaptivePadding
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn

STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""Blocks, kernel, stride, expansion and channels of each stage of Lite0."""
SCALES = {"lite0": (1.0, 1.0), "lite1": (1.0, 1.1), "lite2": (1.1, 1.2)}
"""Size -> factors on channels and on blocks."""
STEM, HEAD = 32, 1280
DIVISOR = 8


def channels_of(channels: int, width: float) -> int:
    """Return a scaled number of channels, rounded to the nearest multiple of 8 that is at least 90 % of it."""
    scaled = channels * width
    nearest = max(DIVISOR, int(scaled + DIVISOR / 2) // DIVISOR * DIVISOR)
    return nearest if nearest >= 0.9 * scaled else nearest + DIVISOR


def stages_of(size: str) -> list[tuple[int, int, int, int, int]]:
    """Return :data:`STAGES` of a size: ``lite0``, ``lite1`` or ``lite2``."""
    width, depth = SCALES[size]
    return [
        (
            blocks if place in (0, len(STAGES) - 1) else math.ceil(blocks * depth),
            kernel,
            stride,
            expansion,
            channels_of(channels, width),
        )
        for place, (blocks, kernel, stride, expansion, channels) in enumerate(STAGES)
    ]


def convolution(
    inputs: int, outputs: int, kernel: int = 1, *, stride: int = 1, groups: int = 1, act: bool = True
) -> nn.Sequential:
    """Return a convolution whose output size is the input size / stride, rounded up, followed by BatchNorm."""
    conv = Conv2dAdaptivePadding(inputs, outputs, kernel, stride, groups=groups, bias=False)
    parts = OrderedDict(conv=conv, bn=nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01))
    if act:
        parts["act"] = nn.ReLU6(inplace=True)
    return nn.Sequential(parts)


class Block(nn.Module):
    """Inverted residual: expansion, depthwise convolution, linear projection.

    Args:
        inputs: Channels of the input.
        outputs: Channels of the output.
        kernel: Size of the depthwise convolution.
        stride: Stride of the depthwise convolution.
        expansion: Factor on the channels inside the block.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inside = inputs * expansion
        self.residual = stride == 1 and inputs == outputs
        self.expand = convolution(inputs, inside) if expansion > 1 else nn.Identity()
        self.depthwise = convolution(inside, inside, kernel, stride=stride, groups=inside)
        self.project = convolution(inside, outputs, act=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H / stride, W / stride), rounded up."""
        output: Tensor = self.project(self.depthwise(self.expand(inputs)))
        return inputs + output if self.residual else output


@MODELS.register_module()
class EfficientNetLite(BaseModule):  # type: ignore[misc]
    """EfficientNet-Lite as a backbone for mmdet and mmseg.

    Args:
        size: ``lite0``, ``lite1`` or ``lite2``.
        out_indices: Stages whose maps are returned: 0 at stride 2, 1 at 4, 2 at 8, 3 and 4 at 16, 5 and 6 at 32,
            and 7, the classifier's 1280 channels at 32. Stages after the last of them are not built.
        init_cfg: Initialisation config of mmengine.
    """

    def __init__(
        self,
        size: str = "lite0",
        out_indices: Sequence[int] = (2, 4, 6),
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.stem = convolution(3, STEM, 3, stride=2)
        self.blocks, self.returned = nn.ModuleList(), {}
        inputs, last = STEM, max(out_indices)
        for stage, (blocks, kernel, stride, expansion, outputs) in enumerate(stages_of(size)[: last + 1]):
            for place in range(blocks):
                self.blocks.append(Block(inputs, outputs, kernel, 1 if place else stride, expansion))
                inputs = outputs
            self.returned[len(self.blocks) - 1] = stage in out_indices
        self.head = convolution(inputs, HEAD) if last == len(STAGES) else None

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Map (B, 3, H, W) to the chosen maps, finest first."""
        value, maps = self.stem(image), []
        for place, block in enumerate(self.blocks):
            value = block(value)
            if self.returned.get(place):
                maps.append(value)
        return tuple(maps) if self.head is None else (*maps, self.head(value))
