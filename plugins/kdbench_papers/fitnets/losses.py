"""Hints: a pure function."""

from __future__ import annotations

from torch import Tensor

from kdbench.api import mean_square


def hint_loss(student: Tensor, teacher: Tensor, cells: Tensor | None = None) -> Tensor:
    """1/2 of the mean over all elements of (student - teacher)^2; 0 when there are none.

    Args:
        student: The student's map after the regressor, any shape.
        teacher: The teacher's map, of the same shape; receives no gradient.
        cells: (B, H, W) booleans: the cells of a map (B, C, H, W) that count; None: all.

    Returns:
        Scalar, in at least float32.

    Raises:
        ValueError: If the shapes differ.

    Source: Romero et al., arXiv 1412.6550, equation 3 (there the sum, not the mean).
    """
    return 0.5 * mean_square(student, teacher, cells)
