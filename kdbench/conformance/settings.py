"""The settings that all code of a process shares, and who changes them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from kdbench import devices


class Setting(NamedTuple):
    """One setting.

    Attributes:
        title: Its name in a message.
        read: Returns its value.
        write: Sets it to a value that ``read`` returned.
    """

    title: str
    read: Callable[[], Any]
    write: Callable[[Any], object]


@contextmanager
def noted(changed: set[str]) -> Iterator[None]:
    """Put back the settings that a block changes.

    Args:
        changed: Receives what was changed, from which value to which.
    """
    kept = [(setting, setting.read()) for setting in settings()]
    try:
        yield
    finally:
        for setting, before in kept:
            if (now := setting.read()) != before:
                setting.write(before)
                changed.add(f"{setting.title} from {before} to {now}")


def settings() -> list[Setting]:
    """Return the settings that change the numbers or the speed of others."""
    return [
        Setting("the working directory", os.getcwd, os.chdir),
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
        Setting(
            "torch's detection of anomalies", torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly
        ),
        *(_autocast(device) for device in devices.here()),
        *(_cudnn(name) for name in ("enabled", "benchmark", "deterministic")),
    ]


def _set_device(device: str) -> None:
    torch.set_default_device(None if device == "cpu" else device)


def _autocast(device: str) -> Setting:
    read, write = torch.is_autocast_enabled, torch.set_autocast_enabled
    return Setting(f"torch's autocast on {device}", partial(read, device), partial(write, device))


def _cudnn(name: str) -> Setting:
    cudnn = torch.backends.cudnn
    return Setting(f"cudnn.{name}", partial(getattr, cudnn, name), partial(setattr, cudnn, name))
