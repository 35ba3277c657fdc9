"""The hint loss, as a pure function."""

from __future__ import annotations

from torch import Tensor

from kdbench.api import mean_square


def hint_loss(student: Tensor, teacher: Tensor, cells: Tensor | None = None) -> Tensor:
    """Return half the mean over all elements of (student - teacher)^2; 0 if there are none.

    Args:
        student: The student's map after the regressor, any shape.
        teacher: The teacher's map, of the same shape; receives no gradient.
        cells: (B, H, W) booleans that select cells of a map (B, C, H, W); None: all.

    Returns:
        Scalar, in at least float32.

    Raises:
        ValueError: If the shapes differ.

    Source: Romero et al., arXiv 1412.6550, equation 3 (which has the sum, not the mean).
    """
    return 0.5 * mean_square(student, teacher, cells)
