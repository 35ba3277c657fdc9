"""ESPNet and ESPNet-C (Mehta et al., ECCV 2018), p = 2 and q = 8, as in structured KD on CamVid.

Convolutions have no bias, BatchNorms an eps of 1e-3 and PReLUs a slope per channel. The modules of the encoder have
the names of the authors' code; the configs' ``revise_keys`` rename the weights in the authors' checkpoints.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn

EPS = 1e-3
DILATIONS = (1, 2, 4, 8, 16)
STAGES = (19, 131, 256)
"""Channels of the encoder's three maps: 16 + 3, 64 + 64 + 3 and 128 + 128, where 3 is the downsampled image."""


def convolution(inputs: int, outputs: int, size: int, *, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    """Return a convolution without a bias, padded so that only the stride changes the size."""
    padding = dilation * (size - 1) // 2
    return nn.Conv2d(inputs, outputs, size, stride, padding, dilation, bias=False)


def norm_act(channels: int, **before: nn.Module) -> nn.Sequential:
    """Return BatchNorm and PReLU, after the named modules."""
    parts = {"bn": nn.BatchNorm2d(channels, eps=EPS), "act": nn.PReLU(channels)}
    return nn.Sequential(OrderedDict(**before, **parts))


def doubled(channels: int) -> nn.ConvTranspose2d:
    """Return a transposed convolution that doubles height and width."""
    return nn.ConvTranspose2d(channels, channels, 2, stride=2, bias=False)


class DilatedBlock(nn.Module):
    """Efficient spatial pyramid: a reduction, parallel dilated convolutions, and their concatenated running sums.

    The sums begin at the second dilation; they remove the grid pattern that dilated convolutions leave.

    Args:
        inputs: Channels of the input.
        outputs: Channels of the output, which are divided among the branches.
        stride: 2 halves height and width, with a 3 x 3 reduction instead of the 1 x 1.
        residual: Whether to add the input, which then needs as many channels as the output.
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1, residual: bool = True) -> None:
        super().__init__()
        width = outputs // len(DILATIONS)
        first = outputs - width * (len(DILATIONS) - 1)
        self.residual = residual
        self.reduce = convolution(inputs, width, 1 if stride == 1 else 3, stride=stride)
        self.branches = nn.ModuleDict(
            {
                f"d{dilation}": convolution(width, first if dilation == 1 else width, 3, dilation=dilation)
                for dilation in DILATIONS
            }
        )
        self.norm = norm_act(outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        reduced = self.reduce(inputs)
        first, total, *others = (branch(reduced) for branch in self.branches.values())
        parts = [first, total]
        for other in others:
            total = total + other
            parts.append(total)
        whole = torch.cat(parts, 1)
        output: Tensor = self.norm(inputs + whole if self.residual else whole)
        return output


@MODELS.register_module()
class ESPNetEncoder(BaseModule):  # type: ignore[misc]
    """The encoder of both networks: three maps at strides 2, 4 and 8, with the channels of ``STAGES``."""

    def __init__(self, init_cfg: dict[str, Any] | None = None) -> None:
        super().__init__(init_cfg)
        self.shrink = nn.AvgPool2d(3, stride=2, padding=1)
        self.level1 = norm_act(16, conv=convolution(3, 16, 3, stride=2))
        self.b1 = norm_act(STAGES[0])
        self.level2_0 = DilatedBlock(STAGES[0], 64, stride=2, residual=False)
        self.level2 = nn.Sequential(*(DilatedBlock(64, 64) for _ in range(2)))
        self.b2 = norm_act(STAGES[1])
        self.level3_0 = DilatedBlock(STAGES[1], 128, stride=2, residual=False)
        self.level3 = nn.Sequential(*(DilatedBlock(128, 128) for _ in range(8)))
        self.b3 = norm_act(STAGES[2])

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map (B, 3, H, W) to the three maps, finest first."""
        half = self.shrink(image)
        quarter = self.shrink(half)
        first = self.b1(torch.cat([self.level1(image), half], 1))
        begun = self.level2_0(first)
        second = self.b2(torch.cat([self.level2(begun), begun, quarter], 1))
        begun = self.level3_0(second)
        third = self.b3(torch.cat([begun, self.level3(begun)], 1))
        return first, second, third


@MODELS.register_module()
class ESPNetCHead(BaseDecodeHead):  # type: ignore[misc]
    """ESPNet-C's head: a 1 x 1 convolution at stride 8, whose logits mmseg upsamples.

    Args:
        settings: Arguments of mmseg's BaseDecodeHead.
    """

    def __init__(self, **settings: Any) -> None:
        own = {"in_channels": STAGES[-1], "channels": STAGES[-1], "dropout_ratio": 0, "init_cfg": None}
        super().__init__(**(own | settings))
        self.conv_seg = convolution(self.channels, self.out_channels, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Return (B, classes, H / 8, W / 8) logits of the encoder's maps."""
        logits: Tensor = self.conv_seg(maps[-1])
        return logits


@MODELS.register_module()
class ESPNetHead(ESPNetCHead):
    """ESPNet's decoder: upsamples ESPNet-C's logits in three steps, merging the encoder's finer maps.

    As in ESPNet-C, the map that ``conv_seg`` reads is the feature that structured KD compares.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        classes = self.out_channels
        self.coarse_norm = nn.BatchNorm2d(classes, eps=EPS)
        self.up3 = doubled(classes)
        self.lateral = convolution(STAGES[1], classes, 1)
        self.merge = nn.Sequential(norm_act(2 * classes), DilatedBlock(2 * classes, classes, residual=False))
        self.up2 = nn.Sequential(doubled(classes), norm_act(classes))
        self.fuse = norm_act(classes, conv=convolution(STAGES[0] + classes, classes, 3))
        self.up1 = doubled(classes)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Return (B, classes, H, W) logits of the encoder's maps; H and W are rounded up to even numbers."""
        first, second, _ = maps
        coarse = self.up3(self.coarse_norm(super().forward(maps)))
        middle = self.merge(torch.cat([self.lateral(second), fitted(coarse, second)], 1))
        fine = self.fuse(torch.cat([fitted(self.up2(middle), first), first], 1))
        logits: Tensor = self.up1(fine)
        return logits


def fitted(enlarged: Tensor, wanted: Tensor) -> Tensor:
    """Crop an upsampled map to the size of another, whose height or width may be odd."""
    height, width = wanted.shape[-2:]
    return enlarged[..., :height, :width]
