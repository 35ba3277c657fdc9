"""Process-wide settings, which a method must not change."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.backends import cuda, cudnn, mkldnn

from kdbench import devices

_SMALLEST = 5e-324


class Setting(NamedTuple):
    """A process-wide setting.

    Attributes:
        title: Name in messages.
        read: Function that returns the value.
        write: Function that sets a value that ``read`` returned.
    """

    title: str
    read: Callable[[], Any]
    write: Callable[[Any], object]

    def value(self) -> Any:
        """Return the value, or the error message if there is none, such as for a removed working directory."""
        try:
            return self.read()
        except (RuntimeError, OSError) as error:
            return str(error)


def values() -> list[Any]:
    """Return the current values of all settings, in order."""
    return [setting.value() for setting in settings()]


def put_back(before: Sequence[Any]) -> list[str]:
    """Restore the settings, and return a description of each change, with both values."""
    changed = []
    for setting, was in zip(settings(), before, strict=True):
        if (now := setting.value()) != was:
            setting.write(was)
            changed.append(f"{setting.title} from {was} to {now}")
    return changed


@contextmanager
def noted(changed: set[str]) -> Iterator[None]:
    """Restore the settings that a block changes.

    Args:
        changed: Receives a description of each change, with both values.
    """
    before = values()
    try:
        yield
    finally:
        changed.update(put_back(before))


@contextmanager
def unchanged() -> Iterator[None]:
    """Run code that must not change the settings, and restore them in any case.

    Raises:
        RuntimeError: If the block changed settings; the message names them.
    """
    changed: set[str] = set()
    with noted(changed):
        yield
    if changed:
        raise RuntimeError(f"it changed {' and '.join(sorted(changed))} for the whole process")


@cache
def settings() -> Sequence[Setting]:
    """Return all settings that affect the results or the speed of other code."""
    return [
        Setting("the working directory", os.getcwd, os.chdir),
        Setting("Python's recursion limit", sys.getrecursionlimit, sys.setrecursionlimit),
        Setting("numpy's error handling", np.geterr, lambda kept: np.seterr(**kept)),
        Setting("torch's default dtype", torch.get_default_dtype, torch.set_default_dtype),
        Setting("torch's default device", lambda: str(torch.get_default_device()), _set_device),
        Setting("whether torch keeps gradients", torch.is_grad_enabled, torch.set_grad_enabled),
        Setting("torch's number of threads", torch.get_num_threads, torch.set_num_threads),
        Setting(
            "whether torch uses deterministic algorithms",
            torch.get_deterministic_debug_mode,
            torch.set_deterministic_debug_mode,
        ),
        Setting(
            "the precision of torch's matrix products",
            torch.get_float32_matmul_precision,
            torch.set_float32_matmul_precision,
        ),
        Setting("torch's denormal numbers", lambda: _SMALLEST * 1.0 == 0.0, torch.set_flush_denormal),
        Setting(
            "torch's detection of anomalies", torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly
        ),
        *(_autocast(device) for device in devices.here()),
        *(_flag("mkldnn", mkldnn, name) for name in ("enabled", "deterministic")),
        *(_flag("cudnn", cudnn, name) for name in ("enabled", "benchmark", "deterministic", "allow_tf32")),
        _flag("cuda.matmul", cuda.matmul, "allow_fp16_reduced_precision_reduction"),
        _flag("cuda.matmul", cuda.matmul, "allow_bf16_reduced_precision_reduction"),
    ]


def _set_device(device: str) -> None:
    torch.set_default_device(None if device == "cpu" else device)


def _autocast(device: str) -> Setting:
    read, write = torch.is_autocast_enabled, torch.set_autocast_enabled
    return Setting(f"torch's autocast on {device}", partial(read, device), partial(write, device))


def _flag(library: str, module: Any, name: str) -> Setting:
    return Setting(f"{library}.{name}", lambda: bool(getattr(module, name)), partial(setattr, module, name))
