"""One process of a run: its device, its place among the processes, and what the libraries may print in it."""

from __future__ import annotations

import atexit
import logging
import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from mmengine.device import utils
from mmengine.dist import init_dist
from mmengine.logging import MMLogger, print_log
from mmengine.runner import checkpoint
from mmengine.structures import instance_data
from torch import Tensor
from torch.distributed import destroy_process_group, init_process_group


def use_device(device: str) -> None:
    """Let mmengine take this device: by itself it takes a GPU wherever there is one."""
    utils.DEVICE = device
    _accept_indices()


class _OfDtype(type):
    """Makes a class whose instances are the tensors of one dtype, on whatever device."""

    dtype: torch.dtype

    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, Tensor) and value.dtype == cls.dtype


class _Booleans(metaclass=_OfDtype):
    dtype = torch.bool


class _Integers(metaclass=_OfDtype):
    dtype = torch.int64


def _accept_indices() -> None:
    """Let mmengine index instances with tensors of any device; by itself it knows those of a few device types."""
    instance_data.BoolTypeTensor = SimpleNamespace(__args__=(_Booleans,))  # what its code reads of the union
    instance_data.IndexType = str | slice | int | list | _Integers | _Booleans | np.ndarray


def join_processes(device: str) -> None:
    """Join torchrun's process group, until the process ends. mmengine's own way needs a GPU, whatever the backend.

    A process that ends without leaving the group may abort: the group's threads are then still at work.
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
    """Keep the libraries' advice to their developers off a user's screen."""
    warnings.filterwarnings("ignore", module=r"(mmengine|mmcv|mmdet|mmseg|torch)\b")
    MMLogger.get_instance("mmengine", logger_name="mmengine", log_level="ERROR")
    logging.getLogger("mmengine").setLevel(logging.ERROR)
    checkpoint.print_log = _logged


def _logged(message: str, logger: Any = None, level: int = logging.INFO) -> None:
    """Stands in for mmengine's ``print_log``, which prints where its callers name no logger."""
    print_log(message, logger=logger or "current", level=level)
