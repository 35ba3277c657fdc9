"""Memory of the device that trains: what is used, what is free, and when there was not enough."""

from __future__ import annotations

import gc

import psutil
import torch

HEADROOM = 0.8
"""Share of the free memory that lanes may fill."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a training failed for want of memory, of the GPU or of the host."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def used() -> int:
    """Bytes that this process holds: on the GPU where it uses one, else in memory."""
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return torch.cuda.memory_allocated()
    return int(psutil.Process().memory_info().rss)


def free() -> int:
    """Bytes that this process may still take from the same memory."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        cached = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
        return int(torch.cuda.mem_get_info()[0]) + cached
    return int(psutil.virtual_memory().available)


def room_for(each: int) -> int:
    """How many more things of so many bytes fit, with some headroom."""
    return int(HEADROOM * free() // max(each, 1))
