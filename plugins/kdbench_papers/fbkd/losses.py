"""Losses of attention-guided and non-local distillation, as pure functions."""

from __future__ import annotations

from torch import Tensor

from kdbench.api import student_and_teacher
from kdbench_papers.fgd.losses import attentions

SMALLEST = 1e-12
"""Constant added under the root, which has no gradient at 0."""


def spatial_mask(student: Tensor, teacher: Tensor, temperature: float = 0.5) -> Tensor:
    """Return the mean of both models' spatial attention, H W softmax over cells of (mean over channels of |F|) / T.

    Args:
        student: (N, C, H, W).
        teacher: (N, C', H, W).
        temperature: T > 0.

    Returns:
        (N, H, W) of mean 1, in at least float32, without gradient.

    Source: Zhang and Ma, ICLR 2021, equations 1 to 3.
    """
    (ours, _), (theirs, _) = (attentions(maps.detach(), temperature) for maps in (student, teacher))
    return (ours + theirs) / 2


def norm_loss(student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the L2 norm (not squared) of the difference over all elements of the batch.

    It grows with the square root of the number of images, as in the released code.

    Reduction: square root of the sum of squares plus 1e-12; 0 if there are no elements.

    Args:
        student: (N, C, ...), adapted to the teacher's shape.
        teacher: The same shape; receives no gradient.
        mask: (N, H, W) weights of the squares at each cell, or None for 1.

    Returns:
        Scalar, in at least float32; 1e-6 with a zero gradient if the two are equal.

    Raises:
        ValueError: If the shapes differ.

    Source: Zhang and Ma, ICLR 2021, equations 4 and 5.
    """
    return distance(*student_and_teacher(student, teacher), mask)


def distance(student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return :func:`norm_loss` of two tensors that may both have a gradient, such as outputs of non-local blocks.

    Args:
        student: (N, C, ...), in at least float32.
        teacher: The same shape.
        mask: (N, H, W) weights, or None.

    Returns:
        Scalar.
    """
    squares = (student - teacher).square()
    if mask is not None:
        squares = squares * mask[:, None]
    return (squares.sum() + SMALLEST).sqrt() if squares.numel() else squares.sum()
