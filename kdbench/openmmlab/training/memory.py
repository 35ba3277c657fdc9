"""Memory of the device that trains: what is used and what is free."""

from __future__ import annotations

import ctypes
import gc
import platform

import psutil

from kdbench import devices

HEADROOM = 0.8
"""Share of the free memory that lanes may fill."""

_GLIBC = ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt, from glibc's malloc.h."""


def keep_freed() -> None:
    """Let this process keep the memory that a step frees for the next one, instead of returning it to the system.

    Each step takes and frees the same hundreds of MiB. Pages from the system have to be filled with
    zeros first: a tenth of a small pair's step on a CPU (benchmarks/speed/step.py). Only glibc can be told so.
    """
    if _GLIBC is not None:
        _GLIBC.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        _GLIBC.mallopt(_MMAP_THRESHOLD, 2**30)


def used(device: str) -> int:
    """Return the bytes that this process uses, of the accelerator's memory or of the host's."""
    gc.collect()
    if _GLIBC is not None:
        _GLIBC.malloc_trim(0)
    if device != devices.CPU:
        return devices.used_memory(device)
    return int(psutil.Process().memory_info().rss)


def free(device: str) -> int:
    """Return the bytes of the same memory that are free."""
    if device != devices.CPU:
        return devices.free_memory(device)
    return int(psutil.virtual_memory().available)


def room_for(each: int, device: str) -> int:
    """Return how many more lanes of ``each`` bytes fit on a device, with some headroom."""
    return int(HEADROOM * free(device) // max(each, 1))
