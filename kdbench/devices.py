"""The devices of this machine: the CPU and torch's accelerator. Light: torch is imported when it is asked."""

from __future__ import annotations

from functools import cache, partial
from types import ModuleType
from typing import TYPE_CHECKING

from kdbench.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    Device = str | torch.device

CPU = "cpu"
TRIED = (CPU, "cuda")
"""Devices that kdbench was run on."""


@cache
def accelerator() -> str | None:
    """Return the type of the accelerator that torch can use here, such as ``cuda``; None where there is none."""
    import torch

    found = torch.accelerator.current_accelerator(check_available=True)
    return None if found is None else found.type


def here() -> list[str]:
    """Return the types of the devices of this machine, the CPU first."""
    found = accelerator()
    return [CPU] if found is None else [CPU, found]


def choose(wanted: str | None) -> str:
    """Return the type of the device to use: the one that is wanted, else the accelerator where there is one.

    Raises:
        ArgumentError: If it is not here.
    """
    if wanted is None:
        return here()[-1]
    check(wanted)
    if wanted != CPU and wanted not in here():
        raise ArgumentError(
            "device",
            f"torch finds no such device here; use {' or '.join(here())}. `kdbench doctor` says more.",
            wanted,
        )
    return wanted


def check(wanted: str) -> None:
    """Raise ArgumentError if no device has that type."""
    if wanted == CPU:
        return
    import torch

    try:
        parsed = torch.device(wanted)
    except RuntimeError as error:
        why = "use cpu or the type of an accelerator, such as cuda."
        raise ArgumentError("device", why, wanted) from error
    if parsed.index is not None:
        why = f"use {parsed.type} (CUDA_VISIBLE_DEVICES chooses among GPUs)."
        raise ArgumentError("device", why, wanted)


def untried(device: str) -> str | None:
    """Return a line for the user of a device that kdbench was never run on; None for the others."""
    if device in TRIED:
        return None
    return f"device {device}: never tried by us; compare its first results with those of a CPU"


def count() -> int:
    """Return the number of accelerators, 0 where there is none."""
    found = accelerator()
    return 0 if found is None else int(_module(found).device_count())


def name(device: str, index: int | None = None) -> str:
    """Return ``cpu``, or the name of an accelerator (default: that in use); its type where torch knows none."""
    if device == CPU:
        return CPU
    named = getattr(_module(device), "get_device_name", None)
    return device if named is None else str(named(index))


def in_use() -> ModuleType | None:
    """Return torch's module of the accelerator if this process has begun to use it."""
    found = accelerator()
    if found is None:
        return None
    module = _module(found)
    begun = getattr(module, "is_initialized", lambda: True)  # mps has no such question: it begins at once
    return module if begun() else None


def synchronize(device: Device) -> None:
    """Wait until a device has done what it was given."""
    if _type(device) != CPU:
        _module(device).synchronize()


def reset_peak_memory(device: Device) -> None:
    """Measure :func:`peak_memory` from now on."""
    reset = getattr(_module(device), "reset_peak_memory_stats", None)
    if reset is not None:
        reset()


def peak_memory(device: Device) -> int | None:
    """Return the most bytes that this process has held on an accelerator; None where torch does not know."""
    peak = getattr(_module(device), "max_memory_allocated", None)
    return None if peak is None else int(peak())


def used_memory(device: Device) -> int:
    """Return the bytes that this process holds on an accelerator."""
    module = _module(device)
    used = getattr(module, "memory_allocated", None) or module.current_allocated_memory  # mps's name for it
    return int(used())


def free_memory(device: Device) -> int:
    """Return the bytes that this process may still take on an accelerator."""
    module = _module(device)
    if not hasattr(module, "mem_get_info"):  # mps
        return int(module.recommended_max_memory() - module.driver_allocated_memory())
    return int(module.mem_get_info()[0]) + int(module.memory_reserved() - module.memory_allocated())


def generator(device: Device) -> torch.Generator:
    """Return a new random generator on a device."""
    import torch

    make: Callable[[], torch.Generator] = getattr(
        _module(device), "Generator", partial(torch.Generator, device)
    )
    return make()


def _type(device: Device) -> str:
    return device if isinstance(device, str) else device.type


def _module(device: Device) -> ModuleType:
    import torch

    found: ModuleType = torch.get_device_module(_type(device))
    return found
