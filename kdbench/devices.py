"""The devices of this machine: the CPU and torch's accelerator. Imports torch only when a function needs it."""

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
"""Types of device on which kdbench has been run."""


@cache
def accelerator() -> str | None:
    """Return the type of the accelerator that torch can use here, such as ``cuda``, or None."""
    import torch

    found = torch.accelerator.current_accelerator(check_available=True)
    return None if found is None else found.type


def here() -> list[str]:
    """Return the types of the devices of this machine, the CPU first."""
    found = accelerator()
    return [CPU] if found is None else [CPU, found]


def choose(wanted: str | None) -> str:
    """Return the type of the device to use: the one that is wanted, else the accelerator, else the CPU.

    Raises:
        ArgumentError: If the wanted device is not available.
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
    """Return a warning for a device on which kdbench has not been run; None for other devices."""
    if device in TRIED:
        return None
    return f"device {device}: never tried by us; compare its first results with those of a CPU"


def count() -> int:
    """Return the number of accelerators."""
    found = accelerator()
    return 0 if found is None else int(_module(found).device_count())


def name(device: str, index: int | None = None) -> str:
    """Return ``cpu``, or an accelerator's name (default: the current one's), or its type if torch has no name."""
    if device == CPU:
        return CPU
    named = getattr(_module(device), "get_device_name", None)
    return device if named is None else str(named(index))


def in_use() -> ModuleType | None:
    """Return torch's module of the accelerator if this process has initialised it."""
    found = accelerator()
    if found is None:
        return None
    module = _module(found)
    begun = getattr(module, "is_initialized", lambda: True)  # mps, which needs no initialisation, has none
    return module if begun() else None


def synchronize(device: Device) -> None:
    """Wait until a device has finished its work."""
    if _type(device) != CPU:
        _module(device).synchronize()


def reset_peak_memory(device: Device) -> None:
    """Restart the measurement of :func:`peak_memory`."""
    reset = getattr(_module(device), "reset_peak_memory_stats", None)
    if reset is not None:
        reset()


def peak_memory(device: Device) -> int | None:
    """Return this process's peak memory on an accelerator, in bytes; None if torch does not measure it."""
    peak = getattr(_module(device), "max_memory_allocated", None)
    return None if peak is None else int(peak())


def used_memory(device: Device) -> int:
    """Return the memory that this process has allocated on an accelerator, in bytes."""
    module = _module(device)
    used = getattr(module, "memory_allocated", None) or module.current_allocated_memory  # the name in mps
    return int(used())


def free_memory(device: Device) -> int:
    """Return the memory that this process can still allocate on an accelerator, in bytes."""
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
