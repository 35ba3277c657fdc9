"""Standardisation of logits, as a pure function."""

from __future__ import annotations

import torch
from torch import Tensor

from kdbench.api import at_least_float32

EPSILON = 1e-7
"""Constant added to the deviation, as in the released code."""
FLAT = 1e-6
"""Deviation, relative to 1 + |mean|, up to which all logits count as equal: the difference is rounding."""


def standardised_logits(logits: Tensor, dim: int = 1) -> Tensor:
    """Scale the logits of each position to mean 0 and standard deviation 1 (with n - 1) over the classes.

    Args:
        logits: Any shape with at least two classes in ``dim``.
        dim: Dimension of the classes.

    Returns:
        The same shape, in at least float32; 0 with no gradient if all classes have the same logit.

    Raises:
        ValueError: If there are fewer than two classes.

    Source: Sun et al., arXiv 2403.01427, algorithm 1.
    """
    if logits.shape[dim] < 2:
        raise ValueError(f"{logits.shape[dim]} class: the logits of at least two can be standardised")
    logits = at_least_float32(logits)
    mean = logits.mean(dim=dim, keepdim=True)
    variance = (logits - mean).square().sum(dim=dim, keepdim=True) / (logits.shape[dim] - 1)
    varies = variance > (FLAT * (1 + mean.abs())).square()
    deviation = torch.where(varies, variance, 1.0).sqrt()
    return torch.where(varies, (logits - mean) / (deviation + EPSILON), 0.0)
