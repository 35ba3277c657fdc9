"""The critic, which scores class maps given the image."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

WIDTHS = (64, 128, 256, 512)
STRIDES = (2, 2, 1, 1)
SLOPE = 0.1
REDUCTION = 8
"""Ratio of the channels of an attention's values to those of its queries and keys."""


class SelfAttention(nn.Module):
    """Self-attention over positions: x + gamma * attention(x), with gamma initially 0 (Zhang et al., ICML 2019).

    Args:
        channels: Channels of the map.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, channels // REDUCTION, 1)
        self.key = nn.Conv2d(channels, channels // REDUCTION, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        """Apply the attention to (N, C, H, W); the shape does not change."""
        query, key, value = (part(features).flatten(2) for part in (self.query, self.key, self.value))
        weights = (query.mT @ key).softmax(dim=-1)
        attended: Tensor = (value @ weights.mT).view_as(features)
        return features + self.gamma * attended


class Critic(nn.Module):
    """Five convolutions, self-attention after the third and the fourth; any input size, 1 x 1 too.

    Args:
        channels: Classes and the image's channels.
        spectral: Normalise the convolutions but the last by their largest singular value.
    """

    def __init__(self, channels: int, *, spectral: bool = False) -> None:
        super().__init__()
        widths = (channels, *WIDTHS)
        self.convs = nn.ModuleList(
            nn.Conv2d(*pair, 3, stride=stride, padding=1)
            for pair, stride in zip(pairwise(widths), STRIDES, strict=True)
        )
        for conv in self.convs if spectral else ():
            spectral_norm(conv)
        self.attentions = nn.ModuleList(SelfAttention(width) for width in WIDTHS[2:])
        self.last = nn.Conv2d(WIDTHS[-1], 1, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        """Return scores (N, 1, ceil(H / 4), ceil(W / 4)) of maps (N, channels, H, W)."""
        features = maps
        for position, conv in enumerate(self.convs):
            features = functional.leaky_relu(conv(features), SLOPE)
            if position >= 2:
                features = self.attentions[position - 2](features)
        scores: Tensor = self.last(features)
        return scores
