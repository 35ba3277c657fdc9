"""The divergence of two maps, channel by channel: a pure function."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from kdbench.api import mean_or_zero, student_and_teacher


def channel_wise_loss(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """T^2 / (N C) sum over images and channels of KL(teacher || student) of the softmax over the positions.

    Reduction: summed over positions, mean over images and channels; 0 when there are none.

    Args:
        student: Maps, (N, C, H, W), any range.
        teacher: Maps of the same shape; receive no gradient.
        temperature: T > 0.

    Returns:
        Scalar, at least 0, in at least float32.

    Raises:
        ValueError: If the shapes differ or T is not positive.

    Source: Shu et al., ICCV 2021, the softmax of a channel over its positions and the divergence of two such
        distributions, which the paper writes for one image.
    """
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}: it must be positive")
    student, teacher = student_and_teacher(student, teacher)
    ours, theirs = ((maps.flatten(2) / temperature).log_softmax(dim=2) for maps in (student, teacher))
    divergence = functional.kl_div(ours, theirs, reduction="none", log_target=True).sum(dim=2)
    return temperature**2 * mean_or_zero(divergence)
