"""What every paper's loss function needs: precision, a detached teacher, a mean that is 0 on an empty set."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def at_least_float32(value: Tensor) -> Tensor:
    """Return the tensor in float32, or unchanged where it is float32 or float64."""
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


def mean_square(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean of all squared differences; of none it is exactly 0, with a valid zero gradient.

    The bits of ``mean_or_zero((student - teacher).square())``, without the maps in between.

    Args:
        student: Any shape.
        teacher: The same shape; receives no gradient.

    Returns:
        Scalar, in at least float32.

    Raises:
        ValueError: If the shapes differ.
    """
    student, teacher = student_and_teacher(student, teacher)
    return functional.mse_loss(student, teacher, reduction="sum") / max(student.numel(), 1)
