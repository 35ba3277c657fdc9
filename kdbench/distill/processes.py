"""Communication between the processes of a distributed run; in a single process nothing is sent."""

from __future__ import annotations

import torch
from torch import Tensor, distributed


def reduced(count: Tensor) -> Tensor:
    """Return the mean of a normaliser over the processes; the sum counts as at least 1.

    Gradients are averaged over the processes. If a sum is divided by this mean, k processes with n images each have
    the gradient of one process with k n images. All processes must call this function equally often.

    Args:
        count: Scalar, at least 0: number of cells, boxes or regions in a sum. Receives no gradient.

    Returns:
        Scalar; in at least float32 if there are several processes.
    """
    number = processes()
    if number == 1:
        return count.detach().clamp(min=1)
    total = count.detach().clone()
    distributed.all_reduce(total)
    return total.clamp(min=1) / number


def gathered(rows: Tensor) -> Tensor:
    """Return the rows of all processes, in the order of the processes, without gradient.

    All processes must call this function equally often.

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
    """Return the number of processes that train together."""
    if distributed.is_available() and distributed.is_initialized():
        return int(distributed.get_world_size())
    return 1
