"""What every paper's loss function needs: precision, a detached teacher, a mean that is 0 on an empty set."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from kdbench.distill.processes import reduced


def at_least_float32(value: Tensor) -> Tensor:
    """The tensor in float32, or as it is where it is float32 or float64."""
    return value if value.dtype in (torch.float32, torch.float64) else value.float()


def student_and_teacher(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Both tensors in at least float32, the teacher's without gradient.

    Args:
        student: Any shape.
        teacher: The same shape.

    Raises:
        ValueError: If the shapes differ: broadcasting would give a wrong loss silently.
    """
    if student.shape != teacher.shape:
        raise ValueError(f"student {tuple(student.shape)} and teacher {tuple(teacher.shape)} differ in shape")
    return at_least_float32(student), at_least_float32(teacher.detach())


def mean_or_zero(values: Tensor) -> Tensor:
    """Mean of all elements; of none it is exactly 0, with a valid zero gradient."""
    return values.sum() / max(values.numel(), 1)


def masked_mean(values: Tensor, cells: Tensor | None) -> Tensor:
    """Mean of maps over some of their cells, in all processes; of none it is exactly 0, with a zero gradient.

    Args:
        values: (B, C, H, W).
        cells: (B, H, W) booleans; None: every cell.

    Returns:
        Scalar. Its gradient is exactly 0 in the other cells, also where a value there is not finite.
    """
    if cells is None:
        return mean_or_zero(values)
    return masked(values, cells).sum() / reduced(cells.sum() * values.shape[1])


def masked(values: Tensor, cells: Tensor | None) -> Tensor:
    """Maps (B, C, H, W) with 0 outside of the cells (B, H, W); as they are where ``cells`` is None."""
    return values if cells is None else values.masked_fill(~cells[:, None], 0)


def mean_square(student: Tensor, teacher: Tensor, cells: Tensor | None = None) -> Tensor:
    """Mean of all squared differences; of none it is exactly 0, with a valid zero gradient.

    The bits of ``mean_or_zero((student - teacher).square())``, without the maps in between.

    Args:
        student: Any shape; (B, C, H, W) with ``cells``.
        teacher: The same shape; receives no gradient.
        cells: (B, H, W) booleans: the cells that count, in all processes; None: every element.

    Returns:
        Scalar, in at least float32.

    Raises:
        ValueError: If the shapes differ.
    """
    student, teacher = student_and_teacher(student, teacher)
    total = functional.mse_loss(masked(student, cells), masked(teacher, cells), reduction="sum")
    if cells is None:
        return total / max(student.numel(), 1)
    return total / reduced(cells.sum() * student.shape[1])
