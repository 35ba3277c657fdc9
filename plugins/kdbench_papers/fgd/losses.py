"""Losses of focal and global distillation, as pure functions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kdbench.api import at_least_float32, student_and_teacher


def attentions(features: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Return the spatial and the channel attention of maps.

    A_S = H W softmax over cells of (mean over channels of |F|) / T, and A_C = C softmax over channels of (mean
    over cells of |F|) / T. An infinite temperature gives 1 everywhere.

    Args:
        features: (N, C, H, W), any range.
        temperature: T > 0.

    Returns:
        (N, H, W) of mean 1 and (N, C) of mean 1, in at least float32.

    Raises:
        ValueError: If T is not positive.

    Source: Yang et al., arXiv 2111.11837, equations 3 to 6.
    """
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}: it must be positive")
    magnitude = at_least_float32(features).abs()
    count, channels, height, width = features.shape
    cells = (magnitude.mean(dim=1).flatten(1) / temperature).softmax(dim=1)
    across = (magnitude.mean(dim=(2, 3)) / temperature).softmax(dim=1)
    return height * width * cells.view(count, height, width), channels * across


def box_masks(boxes: Sequence[Tensor], grid: tuple[int, int], stride: float) -> tuple[Tensor, Tensor]:
    """Return the weights of foreground and background cells.

    A box covers the columns floor(x1) to ceil(x2) and the rows floor(y1) to ceil(y2), both included, in cells.
    Each of its cells has the weight 1 / number of cells, which counts cells beyond the map's edge too. Where boxes
    overlap, the largest weight is used. The cells outside of all boxes share a weight of 1.

    Args:
        boxes: One (G, 4) tensor x1, y1, x2, y2 per image, in input pixels.
        grid: Height and width of the map, in cells.
        stride: The map's stride, in input pixels.

    Returns:
        Foreground and background weights, (N, H, W) each, in float32, on the boxes' device.

    Source: Yang et al., arXiv 2111.11837, equations 1, 2 and 7. The released code scales boxes by the image's own
        size although the map covers the padded batch, which shifts them on padded images; here they are divided by
        the stride.
    """
    foreground = torch.stack([_foreground(part.float() / stride, grid) for part in boxes])
    outside = (foreground == 0).float()
    return foreground, outside / outside.sum(dim=(1, 2), keepdim=True).clamp(min=1)


def _foreground(boxes: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return the foreground weights (H, W) of boxes (G, 4), which are in units of cells."""
    low, high = boxes[:, :2].floor(), boxes[:, 2:].ceil()
    columns, rows = (_within(low[:, axis], high[:, axis], grid[1 - axis]) for axis in (0, 1))
    weights = 1 / (high + 1 - low).clamp(min=1).prod(dim=1)
    covered = (rows[:, :, None] & columns[:, None, :]) * weights[:, None, None]
    return torch.cat([covered, covered.new_zeros(1, *grid)]).amax(dim=0)


def _within(low: Tensor, high: Tensor, cells: int) -> Tensor:
    """Return which cells along an axis are between ``low`` and ``high``, both included, (G, cells) booleans."""
    index = torch.arange(cells, device=low.device)
    return (index >= low[:, None]) & (index <= high[:, None])


def focal_loss(
    student: Tensor, teacher: Tensor, foreground: Tensor, background: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Return the foreground's and the background's squared distance, weighted by the teacher's attention.

    Each is the sum of M A_S A_C (t - s)^2, M the cells' weights, without the factors alpha and beta.

    Reduction: sum over C, H and W, mean over N; 0 if there are none.

    Args:
        student: (N, C, H, W), adapted to the teacher's channels.
        teacher: The same shape; receives no gradient.
        foreground: (N, H, W), foreground weights of :func:`box_masks`.
        background: (N, H, W), background weights of :func:`box_masks`.
        temperature: T > 0 of the attention.

    Returns:
        Two scalars, foreground and background, in at least float32.

    Raises:
        ValueError: If the shapes differ or T is not positive.

    Source: Yang et al., arXiv 2111.11837, equation 8.
    """
    student, teacher = student_and_teacher(student, teacher)
    cells, channels = attentions(teacher, temperature)
    distance = ((student - teacher).square() * channels[:, :, None, None]).sum(dim=1) * cells
    images = max(len(student), 1)
    return (foreground * distance).sum() / images, (background * distance).sum() / images


def attention_distance(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return the L1 distance of the spatial attentions plus that of the channel attentions, without gamma.

    Reduction: sum over cells and channels, mean over N; 0 if there are none.

    Args:
        student: (N, C, H, W), adapted to the teacher's channels.
        teacher: The same shape; receives no gradient.
        temperature: T > 0.

    Returns:
        Scalar, in at least float32.

    Raises:
        ValueError: If the shapes differ or T is not positive.

    Source: Yang et al., arXiv 2111.11837, equation 9.
    """
    student, teacher = student_and_teacher(student, teacher)
    ours, theirs = attentions(student, temperature), attentions(teacher, temperature)
    distances = [(one - other).abs().sum() for one, other in zip(ours, theirs, strict=True)]
    return (distances[0] + distances[1]) / max(len(student), 1)


def global_loss(student_context: Tensor, teacher_context: Tensor) -> Tensor:
    """Return the squared distance of the two relation maps, without lambda.

    Reduction: sum over C, H and W, mean over N; 0 if there are none.

    Args:
        student_context: (N, C, H, W), R(F_s).
        teacher_context: The same shape, R(F_t). It receives a gradient, since the teacher's block is trained too;
            the teacher's features must be detached.

    Returns:
        Scalar, in at least float32.

    Raises:
        ValueError: If the shapes differ.

    Source: Yang et al., arXiv 2111.11837, equation 11.
    """
    if student_context.shape != teacher_context.shape:
        shapes = tuple(student_context.shape), tuple(teacher_context.shape)
        raise ValueError(f"student {shapes[0]} and teacher {shapes[1]} differ in shape")
    difference = at_least_float32(student_context) - at_least_float32(teacher_context)
    return difference.square().sum() / max(len(student_context), 1)
