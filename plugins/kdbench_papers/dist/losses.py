"""Loss on the correlation of predictions, as a pure function."""

from __future__ import annotations

import torch
from torch import Tensor

from kdbench.api import mean_or_zero
from kdbench_papers.hinton.losses import softened

EPSILON = 1e-8
"""Constant added to the product of the norms, as in the released code."""
FLAT = 1e-6
"""Ratio of a row's centred norm to its norm up to which it counts as constant: the difference is rounding."""


def dist_loss(
    student: Tensor, teacher: Tensor, beta: float = 1.0, gamma: float = 1.0, temperature: float = 1.0
) -> Tensor:
    """Return beta x (1 - correlation) of the rows plus gamma x (1 - correlation) of the columns, times T^2.

    Rows are the class probabilities at each position (inter-class), columns the probabilities of each class over
    all positions of the batch (intra-class). The correlation is Pearson's; if one of the two is constant, it
    counts as 0 and has no gradient.

    Reduction: mean over rows, and mean over columns; 0 if there are no positions.

    Args:
        student: (N, C) or (N, C, H, W) logits.
        teacher: The same shape; receives no gradient.
        beta: Weight of the rows.
        gamma: Weight of the columns.
        temperature: T > 0, by which the logits are divided.

    Returns:
        Scalar, in at least float32.

    Raises:
        ValueError: If the shapes differ or T is not positive.

    Source: Huang et al., arXiv 2205.10536, equations 8 to 10; T^2 as in the released code for classification.
    """
    ours, theirs = (_probabilities(logits) for logits in softened(student, teacher, temperature))
    if not len(ours):
        return ours.sum()
    rows, columns = _distance(ours, theirs), _distance(ours.T, theirs.T)
    return temperature**2 * (beta * mean_or_zero(rows) + gamma * mean_or_zero(columns))


def _probabilities(logits: Tensor) -> Tensor:
    """Convert logits (N, C, ...) to probabilities (positions, C)."""
    return logits.movedim(1, -1).flatten(0, -2).softmax(dim=1)


def _distance(ours: Tensor, theirs: Tensor) -> Tensor:
    """Return 1 - Pearson's correlation of each row, (rows,), of tensors (rows, n)."""
    (ours, our_norm), (theirs, their_norm) = _centred(ours), _centred(theirs)
    return 1 - (ours * theirs).sum(dim=1) / (our_norm * their_norm + EPSILON)


def _centred(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows minus their mean, and their norms; constant rows become 0 with norm 1."""
    centred = rows - rows.mean(dim=1, keepdim=True)
    squares = centred.square().sum(dim=1)
    varies = squares > FLAT**2 * rows.square().sum(dim=1)
    return torch.where(varies[:, None], centred, 0.0), torch.where(varies, squares, 1.0).sqrt()
