"""A convolution whose weights are a sign each and a scale a filter. Plain mmdet and mmseg build it by its name."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

IMAGE_CHANNELS = 3
SCALE_BITS = 32


class Sign(torch.autograd.Function):
    """The sign, 1 for 0; its gradient is that of clamping to [-1, 1]."""

    @staticmethod
    def forward(context: Any, weight: Tensor) -> Tensor:
        """Return +1 and -1, of the shape and type of the weight."""
        context.save_for_backward(weight)
        return 2 * (weight >= 0).to(weight.dtype) - 1

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        """Let the gradient straight through where the weight is in [-1, 1]."""
        (weight,) = context.saved_tensors
        straight: Tensor = gradient * (weight.abs() <= 1)
        return straight


def binarised(weight: Tensor) -> Tensor:
    """Return alpha sign(W), alpha the mean of |W| over each filter; gradients go through both.

    Args:
        weight: (N, C, H, W), of N filters.
    """
    signs: Tensor = Sign.apply(weight)
    return weight.abs().mean(dim=(1, 2, 3), keepdim=True) * signs


class BinaryConv2d(nn.Conv2d):
    """Convolves with binarised weights; its parameters are the real ones, which the optimizer updates."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Convolve maps (B, C, H, W)."""
        outputs: Tensor = self._conv_forward(inputs, binarised(self.weight), self.bias)
        return outputs

    def stored_bits(self) -> int:
        """Return the bits of a trained layer: one a weight, 32 a filter's scale and 32 its bias."""
        floats = self.out_channels * (1 if self.bias is None else 2)
        return self.weight.numel() + SCALE_BITS * floats


def convolution(in_channels: int, *arguments: Any, **named: Any) -> nn.Conv2d:
    """Return the layer that a config's ``conv_cfg`` asks for: the first one, which sees images, stays real."""
    kind = nn.Conv2d if in_channels == IMAGE_CHANNELS else BinaryConv2d
    return kind(in_channels, *arguments, **named)
