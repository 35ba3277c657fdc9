"""What a method shares with the other processes of a distributed run; alone, nothing is sent."""

from __future__ import annotations

import torch
from torch import Tensor, distributed


def reduced(count: Tensor) -> Tensor:
    """Return a normaliser as its mean over the processes; their sum counts as at least 1.

    Gradients are averaged over the processes. Divided by this mean, a sum over k processes of n images has the
    gradient of one process with k n images. Every process must call it, as often as the others.

    Args:
        count: Scalar, at least 0: how many cells, boxes or regions a sum is over. Receives no gradient.

    Returns:
        Scalar, in at least float32 where there are several processes.
    """
    number = processes()
    if number == 1:
        return count.detach().clamp(min=1)
    total = count.detach().clone()
    distributed.all_reduce(total)
    return total.clamp(min=1) / number


def gathered(rows: Tensor) -> Tensor:
    """Return the rows of all processes, those of the first process first, without gradient.

    Every process must call it, as often as the others.

    Args:
        rows: (N, ...); N may differ between the processes.

    Returns:
        (sum of N, ...).
    """
    rows = rows.detach()
    number = processes()
    if number == 1:
        return rows
    counts = [rows.new_zeros((), dtype=torch.long) for _ in range(number)]
    distributed.all_gather(counts, rows.new_full((), len(rows), dtype=torch.long))
    sizes = torch.stack(counts).tolist()
    padded = rows.new_zeros(max(sizes), *rows.shape[1:])
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in range(number)]
    distributed.all_gather(parts, padded)
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])


def processes() -> int:
    """Return how many processes train together; 1 alone."""
    if distributed.is_available() and distributed.is_initialized():
        return int(distributed.get_world_size())
    return 1
