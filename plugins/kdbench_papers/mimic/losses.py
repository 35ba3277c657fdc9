"""Losses on mimicked regions, as pure functions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kdbench.api import mean_or_zero, mean_square, region_means, student_and_teacher


def region_l2(
    student_regions: Tensor | Sequence[Tensor], teacher_regions: Tensor | Sequence[Tensor]
) -> Tensor:
    """Return 1 / (2N) sum_i mean_i((u_i - v_i)^2): half the mean over N regions of the mean squared difference.

    Empty regions are ignored; without any region the loss is 0.

    Args:
        student_regions: Regions after the transform: (N, C, h, w), or N tensors of any shapes.
        teacher_regions: The teacher's regions, of the same shapes; receive no gradient.

    Returns:
        Scalar, in at least float32.

    Raises:
        ValueError: If the numbers or shapes of the regions differ.

    Source: Li et al., CVPR 2017, equation 5 (m_i is the region's number of elements).
    """
    if isinstance(student_regions, Tensor) and isinstance(teacher_regions, Tensor):
        return 0.5 * mean_square(student_regions, teacher_regions)
    if len(student_regions) != len(teacher_regions):
        raise ValueError(f"{len(student_regions)} student regions, {len(teacher_regions)} teacher regions")
    pairs = [student_and_teacher(*pair) for pair in zip(student_regions, teacher_regions, strict=True)]
    if not pairs:
        return torch.zeros((), requires_grad=True)
    means = torch.stack([mean_or_zero((student - teacher).square()) for student, teacher in pairs])
    return 0.5 * means.sum() / max(sum(student.numel() > 0 for student, _ in pairs), 1)


def cropped_region_l2(student: Tensor, teacher: Tensor, rois: Tensor, stride: int) -> Tensor:
    """Return :func:`region_l2` of the exact cells of each region, computed for all regions at once.

    Args:
        student: Map after the transform, (B, C, H, W).
        teacher: The teacher's map, of the same shape; receives no gradient.
        rois: (R, 5) image, x1, y1, x2, y2 in input pixels; a region has the cells that its box touches, at least
            one.
        stride: The maps' stride in input pixels.

    Returns:
        Scalar, in at least float32; 0 if there are no regions.

    Raises:
        ValueError: If the shapes differ.
    """
    student, teacher = student_and_teacher(student, teacher)
    squares = (student - teacher).square().mean(dim=1)
    return 0.5 * mean_or_zero(region_means(squares, rois, stride))
