"""Settings of a process of a run: device, process group, what the libraries print, memory."""

from __future__ import annotations

import atexit
import ctypes
import gc
import logging
import platform
import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import torch
from mmengine.device import utils
from mmengine.dist import init_dist
from mmengine.logging import MMLogger, print_log
from mmengine.runner import checkpoint
from mmengine.structures import instance_data
from torch import Tensor
from torch.distributed import destroy_process_group, init_process_group

from kdbench import devices

HEADROOM = 0.8
"""Share of the free memory that lanes may use."""

_GLIBC = ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt, from glibc's malloc.h."""


def use_device(device: str) -> None:
    """Make mmengine use this device: by default it uses a GPU wherever there is one."""
    utils.DEVICE = device
    _accept_indices()


class _OfDtype(type):
    """Metaclass of a class whose instances are the tensors of one dtype, on any device."""

    dtype: torch.dtype

    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, Tensor) and value.dtype == cls.dtype


class _Booleans(metaclass=_OfDtype):
    dtype = torch.bool


class _Integers(metaclass=_OfDtype):
    dtype = torch.int64


def _accept_indices() -> None:
    """Let mmengine index instances with tensors of any device; by default it knows a few device types."""
    instance_data.BoolTypeTensor = SimpleNamespace(
        __args__=(_Booleans,)
    )  # all that its code reads of the union
    instance_data.IndexType = str | slice | int | list | _Integers | _Booleans | np.ndarray


def join_processes(device: str) -> None:
    """Join torchrun's process group until the process ends; mmengine's own way needs a GPU, whatever the backend.

    A process that ends without leaving the group may abort, because the group's threads still run.
    """
    if device == "cuda":  # NCCL is CUDA's alone
        init_dist("pytorch", backend="nccl")
    else:
        init_process_group("gloo")
    atexit.register(destroy_process_group)


def make_repeatable() -> None:
    """Use the same convolution algorithms in every run on a GPU."""
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


def hush() -> None:
    """Hide the libraries' messages that are meant for developers."""
    warnings.filterwarnings("ignore", module=r"(mmengine|mmcv|mmdet|mmseg|torch)\b")
    MMLogger.get_instance("mmengine", logger_name="mmengine", log_level="ERROR")
    logging.getLogger("mmengine").setLevel(logging.ERROR)
    checkpoint.print_log = _logged


def _logged(message: str, logger: Any = None, level: int = logging.INFO) -> None:
    """Replace mmengine's ``print_log``, which prints if its caller names no logger."""
    print_log(message, logger=logger or "current", level=level)


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
