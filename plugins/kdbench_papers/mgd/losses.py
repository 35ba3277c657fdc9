"""Random masks and the loss of masked generation, as pure functions."""

from __future__ import annotations

import torch
from torch import Tensor

from kdbench.api import at_least_float32, student_and_teacher


def random_mask(
    features: Tensor, ratio: float, *, channels: bool = False, generator: torch.Generator | None = None
) -> Tensor:
    """Draw a mask of the cells, or the channels, to keep; each is dropped with probability ``ratio``.

    Args:
        features: (N, C, H, W).
        ratio: Probability of 0, in [0, 1]; at 0 nothing is dropped.
        channels: Drop whole channels instead of cells.
        generator: Random generator on the features' device; None: torch's own.

    Returns:
        (N, 1, H, W) of zeros and ones, or (N, C, 1, 1) with ``channels``, in at least float32.

    Source: Yang et al., arXiv 2205.01529, equation 3.
    """
    count, width, *cells = features.shape
    shape = (count, width, 1, 1) if channels else (count, 1, *cells)
    drawn = torch.rand(shape, generator=generator, device=features.device)
    return (drawn >= ratio).to(at_least_float32(features[:0]).dtype)


def generation_loss(generated: Tensor, teacher: Tensor) -> Tensor:
    """Return the squared distance of the generated features to the teacher's, over all cells, masked or not.

    Reduction: sum over C, H and W, mean over N; 0 if there are none.

    Args:
        generated: (N, C, H, W), the generator's output for the student's masked features.
        teacher: The same shape; receives no gradient.

    Returns:
        Scalar, in at least float32.

    Raises:
        ValueError: If the shapes differ.

    Source: Yang et al., arXiv 2205.01529, equation 5; the released code divides by the number of images.
    """
    generated, teacher = student_and_teacher(generated, teacher)
    return (generated - teacher).square().sum() / max(len(generated), 1)
