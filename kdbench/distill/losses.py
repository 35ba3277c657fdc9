"""Building blocks of losses: precision, a detached teacher, a mean that is 0 on an empty set."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from kdbench.distill.processes import reduced

SHORTEST = 1e-8
"""Norm up to which a vector counts as having no direction."""


def at_least_float32(value: Tensor) -> Tensor:
    """Convert a tensor to float32, unless it is float32 or float64."""
    return value if value.dtype in (torch.float32, torch.float64) else value.float()


def student_and_teacher(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Return both tensors in at least float32, the teacher's detached.

    Args:
        student: Any shape.
        teacher: The same shape.

    Raises:
        ValueError: If the shapes differ, since broadcasting would silently give a wrong loss.
    """
    if student.shape != teacher.shape:
        raise ValueError(f"student {tuple(student.shape)} and teacher {tuple(teacher.shape)} differ in shape")
    return at_least_float32(student), at_least_float32(teacher.detach())


def mean_or_zero(values: Tensor, where: Tensor | None = None) -> Tensor:
    """Return the mean of all or some elements; without elements it is exactly 0, with a valid zero gradient.

    Args:
        values: Any shape.
        where: Booleans that select elements, in all processes of a distributed run; any dimension may have size 1
            for broadcasting. None: every element of this process.

    Returns:
        Scalar. Elements that are not selected have a gradient of exactly 0, even if they are not finite.
    """
    if where is None:
        return values.sum() / max(values.numel(), 1)
    each = values.numel() // max(where.numel(), 1)
    return values.masked_fill(~where, 0).sum() / reduced(where.sum() * each)


def mean_square(student: Tensor, teacher: Tensor, cells: Tensor | None = None) -> Tensor:
    """Return the mean of the squared differences; without elements it is exactly 0, with a valid zero gradient.

    Bitwise equal to ``mean_or_zero((student - teacher).square())``, but without intermediate maps.

    Args:
        student: Any shape; (B, C, H, W) with ``cells``.
        teacher: The same shape; receives no gradient.
        cells: (B, H, W) booleans that select cells, in all processes; None: every element.

    Returns:
        Scalar, in at least float32.

    Raises:
        ValueError: If the shapes differ.
    """
    student, teacher = student_and_teacher(student, teacher)
    if cells is not None:
        difference = (student - teacher).masked_fill(~cells[:, None], 0)
        return mean_or_zero(difference.square(), cells[:, None])
    return functional.mse_loss(student, teacher, reduction="sum") / max(student.numel(), 1)


def unit_vectors(values: Tensor, dim: int = 1) -> Tensor:
    """Divide each vector along ``dim`` by its L2 norm.

    A vector of norm 0 (up to 1e-8) has no direction: the result is 0, without a gradient.

    Args:
        values: Any shape and range.
        dim: Dimension of the vectors.

    Returns:
        The same shape, in at least float32.
    """
    values = at_least_float32(values)
    norm = torch.linalg.vector_norm(values, dim=dim, keepdim=True)
    long = norm > SHORTEST
    return torch.where(long, values / torch.where(long, norm, 1.0), 0.0)
