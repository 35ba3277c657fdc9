"""Losses of cross-head distillation, as pure functions."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from kdbench.api import student_and_teacher
from kdbench_papers.ld.losses import bins_divergence

__all__ = ["bins_divergence", "focal_divergence", "scaled_like"]

SMALLEST = 1e-6
"""Constant added to the student's deviation, as in the released code."""


def scaled_like(student: Tensor, teacher: Tensor) -> Tensor:
    """Scale each channel of the student's maps to the mean and standard deviation of the teacher's.

    Mean and deviation (with n - 1; 0 for a single value) are over images and positions.

    Args:
        student: (N, C, H, W), any range.
        teacher: The same shape; receives no gradient.

    Returns:
        (N, C, H, W), in at least float32.

    Raises:
        ValueError: If the shapes differ.

    Source: the released code of Wang et al., arXiv 2306.11369.
    """
    student, teacher = student_and_teacher(student, teacher)
    if not student.numel():
        return student
    (our_mean, ours), (their_mean, theirs) = _moments(student), _moments(teacher)
    return (student - our_mean) / (ours + SMALLEST) * theirs + their_mean


def _moments(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the standard deviation of each channel, (1, C, 1, 1)."""
    over, values = (0, 2, 3), maps.numel() // maps.shape[1]
    deviation = maps.std(dim=over, keepdim=True, correction=int(values > 1))
    return maps.mean(dim=over, keepdim=True), deviation


def focal_divergence(student: Tensor, teacher: Tensor, beta: float = 1.0) -> Tensor:
    """Return the cross-entropy with the teacher's probability, weighted by the difference of the probabilities.

    This is the sum over classes of BCE(sigmoid(s), sigmoid(t)) |sigmoid(t) - sigmoid(s)|^beta; the weight has a
    gradient too.

    Args:
        student: (N, C) logits of independent classes.
        teacher: The same shape; receives no gradient.
        beta: Exponent of the difference, at least 1.

    Returns:
        (N,), at least 0, in at least float32; 0 with a zero gradient where the probabilities agree.

    Raises:
        ValueError: If the shapes differ.

    Source: the quality focal loss (Li et al., arXiv 2006.04388, equation 2) with the teacher's probability as the
        quality, as in Wang et al., arXiv 2306.11369, and Yang et al., arXiv 2308.14286.
    """
    student, teacher = student_and_teacher(student, teacher)
    target = teacher.sigmoid()
    entropy = functional.binary_cross_entropy_with_logits(student, target, reduction="none")
    return (entropy * (target - student.sigmoid()).abs().pow(beta)).sum(dim=1)
