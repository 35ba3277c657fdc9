"""Losses on decoupled features and decoupled classification, as pure functions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kdbench.api import student_and_teacher
from kdbench_papers.hinton.losses import softmax_divergence

FINEST = 56.0
"""Side of a box, in pixels, at which the level with stride 4 begins; each doubling is one level."""
FINEST_STRIDE = 4


def decoupled_feature_loss(student: Tensor, teacher: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return half the mean squared difference inside the mask, and outside of it.

    Reduction: sum, divided by twice the number of elements (channels x cells) of the side, at least 1; 0 for an
        empty
    side.

    Args:
        student: (N, C, H, W), adapted to the teacher's channels.
        teacher: The same shape; receives no gradient.
        mask: (N, H, W) booleans or weights in [0, 1] of the cells of objects.

    Returns:
        Two scalars, foreground and background, in at least float32.

    Raises:
        ValueError: If the shapes differ.

    Source: Guo et al., arXiv 2103.14475, equation 2.
    """
    student, teacher = student_and_teacher(student, teacher)
    squares, mask = (student - teacher).square().sum(dim=1), mask.to(student.dtype)
    foreground, background = (_side(squares, side, student.shape[1]) for side in (mask, 1 - mask))
    return foreground, background


def _side(squares: Tensor, weights: Tensor, channels: int) -> Tensor:
    return (squares * weights).sum() / (2 * (channels * weights.sum()).clamp(min=1))


def decoupled_head_loss(
    student: Tensor, teacher: Tensor, labels: Tensor, background: int, temperature: float
) -> tuple[Tensor, Tensor]:
    """Return T^2 KL(teacher || student) of the regions with an object, and of those without.

    Reduction: sum over classes, mean over the regions of the side; 0 for an empty side.

    Args:
        student: (R, C + 1) logits.
        teacher: The same shape; receives no gradient.
        labels: (R,) class indices.
        background: Index of the background.
        temperature: T > 0.

    Returns:
        Two scalars, foreground and background, in at least float32.

    Raises:
        ValueError: If the shapes differ or T is not positive.

    Source: Guo et al., arXiv 2103.14475, equation 4.
    """
    divergence = temperature**2 * softmax_divergence(student, teacher, temperature)
    empty = (labels == background).to(divergence.dtype)
    foreground, background_part = (
        (divergence * side).sum() / side.sum().clamp(min=1) for side in (1 - empty, empty)
    )
    return foreground, background_part


def object_masks(
    boxes: Sequence[Tensor], grids: Sequence[tuple[int, int]], strides: Sequence[int]
) -> list[Tensor]:
    """Return which cells of each level belong to boxes of the level's scale.

    A box is on the level floor(log2(sqrt((w + 1)(h + 1)) / 56)), counted from stride 4, or on the nearest one that
    exists. It covers the columns from int(x1 / stride) up to but excluding int(x2 / stride), at least one, and rows
    likewise.

    Args:
        boxes: One (G, 4) tensor x1, y1, x2, y2 per image, in input pixels.
        grids: Height and width of each level, in cells, finest first.
        strides: Stride of each level, in input pixels.

    Returns:
        (N, H, W) booleans per level.

    Source: the released code.
    """
    levels = [_levels(part, strides) for part in boxes]
    return [
        torch.stack(
            [_cells(part[own == level], grid, stride) for part, own in zip(boxes, levels, strict=True)]
        )
        for level, (grid, stride) in enumerate(zip(grids, strides, strict=True))
    ]


def _levels(boxes: Tensor, strides: Sequence[int]) -> Tensor:
    """Return the index of each box's level among the existing levels, (G,)."""
    scale = (boxes[:, 2:] - boxes[:, :2] + 1).clamp(min=0).prod(dim=1).sqrt()
    octave = torch.floor(torch.log2((scale / FINEST).clamp(min=1e-6)))
    first = (strides[0] // FINEST_STRIDE).bit_length() - 1
    return (octave - first).clamp(0, len(strides) - 1).long()


def _cells(boxes: Tensor, grid: tuple[int, int], stride: int) -> Tensor:
    """Return the cells that any of the boxes covers, (H, W) booleans."""
    scaled = boxes / stride
    rows, columns = (
        _axis(scaled[:, axis], scaled[:, axis + 2], cells) for axis, cells in ((1, grid[0]), (0, grid[1]))
    )
    return (rows[:, :, None] & columns[:, None, :]).any(dim=0)


def _axis(low: Tensor, high: Tensor, cells: int) -> Tensor:
    """Return which cells along one axis each box covers, (G, cells) booleans."""
    first = low.trunc().clamp(0, cells - 1)
    last = torch.maximum(high.trunc(), first + 1)
    index = torch.arange(cells, device=low.device)
    return (index >= first[:, None]) & (index < last[:, None])
