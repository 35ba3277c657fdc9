"""Modules trained with the student: adapters, and blocks that relate every cell to all others."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from kdbench.api import at_least_float32


class NonLocal(nn.Module):
    """A non-local block with dot products: F + W (sum over cells j of theta(F_i) . phi(F_j) g(F_j)) / cells.

    W is initially 0, so that the block returns F.

    Args:
        channels: Channels of the map.
        reduction: Factor by which the inner channels are fewer.
        pooling: Kernel size of the max-pooling of keys and values, in cells.

    Source: Zhang and Ma, ICLR 2021, equation 6, after Wang et al., arXiv 1711.07971.
    """

    def __init__(self, channels: int, reduction: int, pooling: int) -> None:
        super().__init__()
        middle = max(1, channels // reduction)
        self.pooling = pooling
        self.theta, self.phi, self.g = (nn.Conv2d(channels, middle, 1) for _ in range(3))
        self.output = nn.Conv2d(middle, channels, 1)
        assert self.output.bias is not None
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Apply the block to (N, C, H, W); returns the same shape, in at least float32."""
        features = at_least_float32(features)
        side = min(self.pooling, *features.shape[-2:])
        pooled = functional.max_pool2d(features, side)
        with torch.autocast(features.device.type, enabled=False):
            query, key, value = (
                self.theta(features).flatten(2),
                self.phi(pooled).flatten(2),
                self.g(pooled).flatten(2),
            )
            related = (value @ key.mT / key.shape[2]) @ query
            added: Tensor = self.output(related.unflatten(2, features.shape[-2:]))
        return features + added


class LevelBlocks(nn.Module):
    """The trained modules of one level.

    Args:
        channels: Student's and teacher's channels.
        level: Index of the level, finest first.
        terms: Names of the variant's terms.
    """

    def __init__(self, channels: tuple[int, int], level: int, terms: tuple[str, ...]) -> None:
        super().__init__()
        student, teacher = channels
        reduction, pooling = (4, 8 >> level) if level < 2 else (2, 1)
        if "features" in terms:
            self.features = nn.Conv2d(student, teacher, 1)
        if "attention" in terms:
            self.channels = nn.Linear(student, teacher)
            self.cells = nn.Conv2d(1, 1, 3, padding=1)
        if "nonlocal" in terms:
            self.student, self.teacher = (NonLocal(width, reduction, pooling) for width in channels)
            self.relations = nn.Conv2d(student, teacher, 1)
