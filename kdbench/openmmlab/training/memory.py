"""Memory of the device that trains: what is used, what is free, and when there was not enough."""

from __future__ import annotations

import ctypes
import gc
import platform

import psutil
import torch

from kdbench import devices

HEADROOM = 0.8
"""Share of the free memory that lanes may fill."""

_GLIBC = ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt, from glibc's malloc.h."""


def keep_freed() -> None:
    """Let a process keep what a step frees for its next step, instead of giving it back and asking again.

    Each step takes and frees the same hundreds of MiB. Pages that come from the system have to be filled with
    zeros first: a tenth of a small pair's step on a CPU (benchmarks/speed/step.py). Only glibc is asked.
    """
    if _GLIBC is not None:
        _GLIBC.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        _GLIBC.mallopt(_MMAP_THRESHOLD, 2**30)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a training failed for want of memory, of the GPU or of the host."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def used(device: str) -> int:
    """Return the bytes that this process holds: on an accelerator, else in memory, without what it keeps freed."""
    gc.collect()
    if _GLIBC is not None:
        _GLIBC.malloc_trim(0)
    if device != devices.CPU:
        return devices.used_memory(device)
    return int(psutil.Process().memory_info().rss)


def free(device: str) -> int:
    """Return the bytes that this process may still take from the same memory."""
    if device != devices.CPU:
        return devices.free_memory(device)
    return int(psutil.virtual_memory().available)


def room_for(each: int, device: str) -> int:
    """Return how many more things of so many bytes fit on a device, with some headroom."""
    return int(HEADROOM * free(device) // max(each, 1))
