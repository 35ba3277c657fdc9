"""The global context block, which models relations between cells."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kdbench.api import at_least_float32


class ContextBlock(nn.Module):
    """A global context block: R(F) = F + W2 ReLU(LayerNorm(W1 (sum over cells of softmax(W_k F) F))).

    W2 is initially 0, so that R(F) = F.

    Args:
        channels: Channels of the map; the inner layer has half of them.

    Source: Yang et al., arXiv 2111.11837, equation 10, after GcNet (Cao et al., arXiv 1904.11492).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        middle = max(1, channels // 2)
        self.key = nn.Conv2d(channels, 1, 1)
        last = nn.Linear(middle, channels)
        self.transform = nn.Sequential(nn.Linear(channels, middle), nn.LayerNorm(middle), nn.ReLU(), last)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Apply the block to (N, C, H, W); returns the same shape, in at least float32."""
        features = at_least_float32(features)
        with torch.autocast(features.device.type, enabled=False):
            shares = self.key(features).flatten(2).softmax(dim=2)
            context = (features.flatten(2) * shares).sum(dim=2)
            related: Tensor = self.transform(context)
        return features + related[:, :, None, None]
