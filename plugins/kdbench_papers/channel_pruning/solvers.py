"""Which channels stay, and the weights that make up for the others: from second moments alone.

Everything is float64. Moments are sums over samples, so that samples need not be kept.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

SLACK = 1e-6
"""How far above the penalty a channel's pull must be to come in, relative to it: equal ones differ by rounding."""
SWEEPS = 1000
"""Of the coordinates, at most."""
CONVERGED = 1e-8
"""Change of a coefficient below which a sweep was the last, relative to the largest coefficient."""
RIDGE = 1e-6
"""Relative to the mean of the squares' diagonal."""
HALVINGS = 40
"""Of the interval in which the penalty is looked for, at most."""


def lasso(gram: Tensor, products: Tensor, penalty: float) -> Tensor:
    """Return the b that minimises 1/2 |y - Z b|^2 + penalty |b|_1, by coordinate descent from 0.

    Args:
        gram: (C, C) Z^T Z.
        products: (C,) Z^T y.
        penalty: Positive.

    Returns:
        (C,) coefficients; those that the penalty removes are exactly 0, and of equal channels all but one.
    """
    found, rest = torch.zeros_like(products), products.clone()  # rest is Z^T (y - Z b)
    squares, used = gram.diagonal().tolist(), (gram.diagonal() > 0).nonzero().flatten().tolist()
    for _ in range(SWEEPS):
        largest = 0.0
        for at in used:
            old = float(found[at])
            pull = float(rest[at]) + squares[at] * old
            least = penalty if old else penalty * (1 + SLACK)
            new = math.copysign((abs(pull) - penalty) / squares[at], pull) if abs(pull) > least else 0.0
            if new != old:
                rest -= gram[at] * (new - old)
                found[at] = new
                largest = max(largest, abs(new - old))
        if largest <= CONVERGED * float(found.abs().max()):
            break
    return found


def kept_channels(gram: Tensor, products: Tensor, keep: int) -> list[int]:
    """Return the channels that the LASSO keeps, in their order.

    The penalty is bisected between none, which keeps every channel, and the least that removes all, until as many
    channels are left as are to stay. Where none leaves just as many, it is the last that leaves more, and of its
    channels those that contribute most, |b_i| |Z_i|, stay.

    Args:
        gram: (C, C) Z^T Z, of the part of the output that each channel gives.
        products: (C,) Z^T y, of the whole output.
        keep: How many, at least 1.
    """
    low, high = 0.0, float(products.abs().max())
    best = torch.ones_like(products)
    for _ in range(HALVINGS):
        penalty = (low + high) / 2
        found = lasso(gram, products, penalty)
        left = int(found.count_nonzero())
        if left >= keep:
            best, low = found, penalty
        if left <= keep:
            high = penalty
        if left == keep:
            break
    strength = best.abs() * gram.diagonal().clamp(min=0).sqrt()
    return sorted(strength.argsort(descending=True, stable=True)[:keep].tolist())


def correction(squares: Tensor, products: Tensor) -> Tensor:
    """Return the D that minimises |E - X D|^2, with a small ridge: where the samples do not tell, D is 0.

    Args:
        squares: (P, P) X^T X.
        products: (P, N) X^T E.

    Returns:
        (P, N).
    """
    ridge = RIDGE * squares.diagonal().mean() + torch.finfo(squares.dtype).tiny
    factor = torch.linalg.cholesky(squares + ridge * torch.eye(len(squares), dtype=squares.dtype))
    return torch.cholesky_solve(products, factor)
