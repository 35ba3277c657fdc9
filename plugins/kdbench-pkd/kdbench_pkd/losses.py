"""The loss on the correlation of two maps' channels, as pure functions."""

from __future__ import annotations

import torch
from torch import Tensor

from kdbench.api import at_least_float32, mean_or_zero, student_and_teacher

FLAT = 1e-6
"""Deviation, relative to 1 + |mean|, up to which a channel counts as constant: the difference is rounding."""


def pearson_loss(student: Tensor, teacher: Tensor, cells: Tensor | None = None) -> Tensor:
    """Return half the mean squared difference of the standardised maps, which is the mean over channels of 1 - r.

    Reduction: mean over all elements; 0 if there are none.

    Args:
        student: Maps, (N, C, H, W), any range.
        teacher: Maps of the same shape; receive no gradient.
        cells: (N, H, W) booleans that select cells; None: all.

    Returns:
        Scalar in [0, 2], in at least float32. A channel that is constant in one of the two maps contributes 1/2,
        one that is constant in both 0.

    Raises:
        ValueError: If the shapes differ.

    Source: Cao et al., NeurIPS 2022, the loss on normalised features, which the paper shows to be 1 - r.
    """
    student, teacher = student_and_teacher(student, teacher)
    difference = standardised(student, cells) - standardised(teacher, cells)
    return 0.5 * mean_or_zero(difference.square(), None if cells is None else cells[:, None])


def standardised(features: Tensor, cells: Tensor | None = None) -> Tensor:
    """Scale each channel to mean 0 and deviation 1 over images and positions; a constant channel becomes 0.

    Args:
        features: (N, C, H, W), any range.
        cells: (N, H, W) booleans that select the cells for the statistics; None: all.

    Returns:
        The same shape, in at least float32; 0 in the other cells.

    Source: Cao et al., NeurIPS 2022, the normalisation before the loss.
    """
    features = at_least_float32(features)
    if cells is None:
        mean = features.mean(dim=(0, 2, 3), keepdim=True)
        centred = features - mean
        variance = centred.square().mean(dim=(0, 2, 3), keepdim=True)
    else:
        count = cells.sum().clamp(min=1)
        mean = features.masked_fill(~cells[:, None], 0).sum(dim=(0, 2, 3), keepdim=True) / count
        centred = (features - mean).masked_fill(~cells[:, None], 0)
        variance = centred.square().sum(dim=(0, 2, 3), keepdim=True) / count
    varies = variance > (FLAT * (1 + mean.abs())).square()
    return torch.where(varies, centred / torch.where(varies, variance, 1.0).sqrt(), 0.0)
