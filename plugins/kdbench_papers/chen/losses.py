"""Losses for soft labels, bounded regression and hints, as pure functions."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from kdbench.api import mean_or_zero, mean_square, reduced, student_and_teacher


def weighted_soft_cross_entropy(
    student: Tensor, teacher: Tensor, background: int, background_weight: float = 1.5
) -> Tensor:
    """Return - sum_c w_c P_t(c) log P_s(c), with softmax probabilities.

    w_c is ``background_weight`` for the background and 1 for other classes.

    Reduction: sum over classes, mean over rows; 0 if there are none.

    Args:
        student: Logits (N, C + 1).
        teacher: Logits of the same shape; receive no gradient.
        background: Index of the background's column; -1 is the last.
        background_weight: Weight of the background.

    Returns:
        Scalar, in at least float32.

    Raises:
        ValueError: If the shapes differ.
        IndexError: If there is no such column.

    Source: Chen et al., NeurIPS 2017, section 3.2.
    """
    student, teacher = student_and_teacher(student, teacher)
    weighted = -teacher.softmax(dim=1) * student.log_softmax(dim=1)
    extra = weighted.select(1, background) * (background_weight - 1)
    return mean_or_zero(weighted.sum(dim=1) + extra)


def weighted_sigmoid_cross_entropy(
    student: Tensor, teacher: Tensor, background_weight: float = 1.5
) -> Tensor:
    """Return - sum_c [P_t(c) log P_s(c) + w (1 - P_t(c)) log(1 - P_s(c))], with sigmoid probabilities.

    Reduction: sum over classes and rows, divided by the teacher's foreground mass, which is the sum over rows of
    its largest probability, at least 1 over all processes. 0 if there are no rows.

    Args:
        student: Logits (N, C).
        teacher: Logits of the same shape; receive no gradient.
        background_weight: w, the weight of "not this class".

    Returns:
        Scalar, in at least float32.

    Raises:
        ValueError: If the shapes differ.

    Source: ours, for heads that have no background class.
    """
    student, teacher = student_and_teacher(student, teacher)
    probability = teacher.sigmoid()
    yes = probability * functional.logsigmoid(student)
    no = (1 - probability) * functional.logsigmoid(-student)
    return -(yes + background_weight * no).sum() / _foreground_mass(teacher)


def teacher_bounded_l2(student: Tensor, teacher: Tensor, target: Tensor, margin: float = 0.0) -> Tensor:
    """Return ||student - target||^2 of each box that is not better than the teacher's by the margin, else 0.

    Reduction: sum over the 4 coordinates, mean over all boxes; 0 if there are none. A box that the bound
    excludes has a gradient of exactly 0.

    Args:
        student: Encoded regressions (P, 4).
        teacher: The teacher's regressions of the same boxes, (P, 4); receive no gradient.
        target: Regression targets, (P, 4).
        margin: m; a box counts if ||student - target||^2 + m > ||teacher - target||^2.

    Returns:
        Scalar, in at least float32.

    Raises:
        ValueError: If the shapes differ.

    Source: Chen et al., NeurIPS 2017, section 3.3.
    """
    student, target = student_and_teacher(student, target)
    teacher, _ = student_and_teacher(teacher.detach(), target)
    errors = (student - target).square().sum(dim=1)
    bound = (teacher - target).square().sum(dim=1)
    return mean_or_zero(torch.where(errors.detach() + margin > bound, errors, 0.0))


def regression_l2(student: Tensor, teacher: Tensor) -> Tensor:
    """Return ||student - teacher||^2 of each box, without a bound.

    Reduction: sum over the 4 coordinates, mean over boxes; 0 if there are none.

    Args:
        student: Encoded regressions (P, 4).
        teacher: The teacher's regressions, (P, 4); receive no gradient.

    Returns:
        Scalar, in at least float32.

    Raises:
        ValueError: If the shapes differ.

    Source: Chen et al., NeurIPS 2017, Table 4, row L2.
    """
    student, teacher = student_and_teacher(student, teacher)
    return mean_or_zero((student - teacher).square().sum(dim=1))


def hint_loss(
    student: Tensor, teacher: Tensor, cells: Tensor | None = None, norm: Literal["l2", "l1"] = "l2"
) -> Tensor:
    """Return the mean over all elements of (student - teacher)^2, or of |student - teacher|; 0 if there are none.

    Args:
        student: The student's map after its adaptation, any shape.
        teacher: The teacher's map, of the same shape; receives no gradient.
        cells: (B, H, W) booleans that select cells of a map (B, C, H, W); None: all.
        norm: ``l2`` or ``l1``.

    Returns:
        Scalar, in at least float32.

    Raises:
        ValueError: If the shapes differ.

    Source: Chen et al., NeurIPS 2017, section 3.4 (which has the sum, not the mean).
    """
    if norm == "l2":
        return mean_square(student, teacher, cells)
    student, teacher = student_and_teacher(student, teacher)
    return mean_or_zero((student - teacher).abs(), None if cells is None else cells[:, None])


def _foreground_mass(logits: Tensor) -> Tensor:
    """Return the sum over rows (N, C) of the largest class probability, as a normaliser over all processes."""
    return reduced(functional.pad(logits.sigmoid(), (0, 1)).amax(dim=1).sum())
