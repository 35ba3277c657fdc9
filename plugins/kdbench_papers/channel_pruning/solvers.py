"""Which channels stay, and the weights that make up for the others: from second moments alone.

Everything is float64. Moments are sums over samples, so that samples need not be kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

RIDGE = 1e-6
"""Relative to the mean of the squares' diagonal."""
JITTER = 1e-12
"""The same, of the channels that are in."""
TIED = 1e-6
"""Below this, relative to the penalty, two pulls do not come apart: one channel is the other, up to rounding."""
STEPS = 8
"""Steps along the path, for each channel, at most."""


def lasso_path(gram: Tensor, products: Tensor) -> Iterator[tuple[float, Tensor, list[int]]]:
    """Follow the LASSO as its penalty falls, and stop where a channel comes in.

    Between two stops each coefficient is linear in the penalty, so the path is exact (LARS; Efron et al., 2004). Of
    channels that are the same, one comes in.

    Args:
        gram: (C, C) Z^T Z.
        products: (C,) Z^T y.

    Yields:
        The penalty, the b (C,) that minimises 1/2 |y - Z b|^2 + penalty |b|_1, and the channels that are not 0 just
        below that penalty.
    """
    found, penalty = torch.zeros_like(products), float(products.abs().max())
    entering = int(products.abs().argmax())
    used, left = [], -1
    for _ in range(STEPS * len(products)):
        if penalty <= 0:
            return
        if left < 0:
            used.append(entering)
            yield penalty, found.clone(), sorted(used)
        rest = products - gram @ found
        inside = gram[used][:, used]
        jitter = JITTER * inside.diagonal().mean() * torch.eye(len(used), dtype=gram.dtype)
        direction = torch.linalg.solve(inside + jitter, rest[used].sign())
        step, entering = _entry(rest, gram[:, used] @ direction, penalty, [*used, left])
        leave, leaving = _leave(found[used], direction)
        left = used[leaving] if leave < step else -1
        step = min(step, leave)
        found[used] += step * direction
        penalty -= step
        if left >= 0:
            used.remove(left)
            found[left] = 0.0


def _entry(rest: Tensor, slopes: Tensor, penalty: float, barred: list[int]) -> tuple[float, int]:
    """Return how far the penalty falls until a channel's pull is as large, and which; all the way for none."""
    ways = torch.stack([_ratio(penalty - rest, 1 - slopes), _ratio(penalty + rest, 1 + slopes)])
    steps = ways.min(0).values
    steps[[at for at in barred if at >= 0]] = math.inf
    entering = int(steps.argmin())
    return min(float(steps[entering]), penalty), entering


def _ratio(distance: Tensor, speed: Tensor) -> Tensor:
    """Return when a distance is gone; never where it does not become less."""
    never = torch.full_like(distance, math.inf)
    return torch.where(speed > TIED, distance.clamp(min=0) / speed, never)


def _leave(found: Tensor, direction: Tensor) -> tuple[float, int]:
    """Return how far the penalty falls until a coefficient is 0, and which it is; infinitely far for none."""
    shrinks = found * direction < 0
    steps = torch.where(shrinks, -found / direction, torch.full_like(found, math.inf))
    leaving = int(steps.argmin())
    return float(steps[leaving]), leaving


def kept_channels(gram: Tensor, products: Tensor, keep: int) -> list[int]:
    """Return the channels that the LASSO keeps, in their order: with the largest penalty that keeps so many.

    Where no penalty does, since fewer channels contribute, the first of the others join them.

    Args:
        gram: (C, C) Z^T Z, of the part of the output that each channel gives.
        products: (C,) Z^T y, of the whole output.
        keep: How many, at least 1.
    """
    used: list[int] = []
    for _, _, used in lasso_path(gram, products):
        if len(used) == keep:
            return used
    others = [channel for channel in range(len(products)) if channel not in used]
    return sorted([*used, *others][:keep])


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
