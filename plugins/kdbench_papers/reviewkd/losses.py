"""Knowledge review: the loss of a level and the fusion of levels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from kdbench.api import mean_square, student_and_teacher

POOLED = (4, 2, 1)
"""Sizes of the pooled maps."""


def hierarchical_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the hierarchical context loss of one level.

    This is the weighted mean of the mean squared differences of the maps, with weight 1, and of the maps
    average-pooled to 4 x 4, 2 x 2 and 1 x 1 cells, with weights 1/2, 1/4 and 1/8. Sizes that are not below the
    map's height are left out, and the next size takes their weight.

    Reduction: mean over all elements; 0 if there are none.

    Args:
        student: (N, C, H, W).
        teacher: The same shape; receives no gradient.

    Returns:
        Scalar, in at least float32.

    Raises:
        ValueError: If the shapes differ.

    Source: Chen et al., arXiv 2104.09044, section 3.3, with the weights of the released code.
    """
    student, teacher = student_and_teacher(student, teacher)
    loss, weight, total = mean_square(student, teacher), 1.0, 1.0
    if not student.numel():
        return loss
    for size in POOLED:
        if size < student.shape[2]:
            weight /= 2
            total += weight
            pooled = (functional.adaptive_avg_pool2d(maps, size) for maps in (student, teacher))
            loss = loss + weight * mean_square(*pooled)
    return loss / total


class Fusion(nn.Module):
    """Residual learning with attention-based fusion, from the student's pyramid to maps of the teacher's shapes.

    From the coarsest level up, each level is converted to the inner channels and mixed, cell by cell, with the
    residual of the coarser one.

    Args:
        student: Channels of the student's levels, finest first.
        teacher: Channels of the teacher's levels.
        middle: Maximum number of inner channels.

    Source: Chen et al., arXiv 2104.09044, sections 3.2 and 3.3.
    """

    def __init__(self, student: Sequence[int], teacher: Sequence[int], middle: int = 256) -> None:
        super().__init__()
        width = min(middle, *teacher)
        self.entries = nn.ModuleList(_convolution(channels, width, 1) for channels in student)
        self.gates = nn.ModuleList(nn.Conv2d(2 * width, 2, 1) for _ in student[1:])
        self.exits = nn.ModuleList(_convolution(width, channels, 3) for channels in teacher)

    def forward(self, maps: Sequence[Tensor], sizes: Sequence[tuple[int, int]]) -> list[Tensor]:
        """Fuse the levels.

        Args:
            maps: (N, C_i, H_i, W_i), finest first.
            sizes: Height and width of the teacher's levels.

        Returns:
            (N, C'_i, *sizes[i]) per level, finest first.
        """
        outputs: list[Tensor] = []
        residual: Tensor | None = None
        for level in reversed(range(len(maps))):
            residual = self._fused(level, self.entries[level](maps[level]), residual)
            outputs.append(self.exits[level](_nearest(residual, sizes[level])))
        return outputs[::-1]

    def _fused(self, level: int, own: Tensor, coarser: Tensor | None) -> Tensor:
        """Mix the level's own map with the residual of the coarser one, if there is one."""
        if coarser is None:
            return own
        coarser = _nearest(coarser, (own.shape[2], own.shape[3]))
        shares: Tensor = self.gates[level](torch.cat([own, coarser], dim=1)).sigmoid()
        return own * shares[:, :1] + coarser * shares[:, 1:]


class _Norm(nn.BatchNorm2d):
    """BatchNorm that uses its running statistics if a channel has a single value, which has no deviation."""

    def forward(self, maps: Tensor) -> Tensor:
        """Normalise (N, C, H, W); the shape does not change."""
        if maps.numel() > maps.shape[1]:
            return super().forward(maps)
        mean, variance = self.running_mean, self.running_var
        return functional.batch_norm(maps, mean, variance, self.weight, self.bias, eps=self.eps)


def _convolution(entering: int, leaving: int, size: int) -> nn.Sequential:
    """Make a convolution without bias, initialised kaiming uniform with a = 1, and its norm."""
    convolution = nn.Conv2d(entering, leaving, size, padding=size // 2, bias=False)
    nn.init.kaiming_uniform_(convolution.weight, a=1)
    return nn.Sequential(convolution, _Norm(leaving))


def _nearest(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return maps if maps.shape[-2:] == size else functional.interpolate(maps, size=size, mode="nearest")
