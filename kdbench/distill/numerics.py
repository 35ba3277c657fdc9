"""Settings of this process that every training in it depends on: a method must leave them as they are."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.backends import cuda, cudnn, mkldnn

Setting = tuple[Callable[[], Any], Callable[[Any], Any]]
"""Reads a setting, and sets it."""
_TINY = 5e-324


def _attribute(owner: Any, name: str) -> Setting:
    return lambda: getattr(owner, name), lambda value: setattr(owner, name, value)


SETTINGS: Mapping[str, Setting] = {
    "the default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "whether gradients are recorded": (torch.is_grad_enabled, torch.set_grad_enabled),
    "the number of threads": (torch.get_num_threads, torch.set_num_threads),
    "the precision of matrix products": (
        torch.get_float32_matmul_precision,
        torch.set_float32_matmul_precision,
    ),
    "deterministic algorithms": (
        torch.are_deterministic_algorithms_enabled,
        torch.use_deterministic_algorithms,
    ),
    "denormal numbers": (lambda: _TINY * 1.0 == 0.0, torch.set_flush_denormal),
    "MKL-DNN": _attribute(mkldnn, "enabled"),
    "MKL-DNN's deterministic mode": _attribute(mkldnn, "deterministic"),
    "MKL-DNN's TF32": _attribute(mkldnn, "allow_tf32"),
    "cuDNN": _attribute(cudnn, "enabled"),
    "cuDNN's benchmark mode": _attribute(cudnn, "benchmark"),
    "cuDNN's deterministic mode": _attribute(cudnn, "deterministic"),
    "cuDNN's TF32": _attribute(cudnn, "allow_tf32"),
    "cuBLAS's TF32": _attribute(cuda.matmul, "allow_tf32"),
    "cuBLAS's float16 sums": _attribute(cuda.matmul, "allow_fp16_reduced_precision_reduction"),
    "cuBLAS's bfloat16 sums": _attribute(cuda.matmul, "allow_bf16_reduced_precision_reduction"),
    "the recursion limit": (sys.getrecursionlimit, sys.setrecursionlimit),
    "the working directory": (os.getcwd, os.chdir),
}
"""What it is called in a message -> how it is read and set."""


def settings() -> dict[str, Any]:
    """Return what the settings are now."""
    return {name: _read(name) for name in SETTINGS}


def _read(name: str) -> Any:
    try:
        return SETTINGS[name][0]()
    except (
        RuntimeError,
        OSError,
    ) as error:  # torch: of two ways to set TF32, both were used; a deleted folder
        return str(error)


def put_back(before: Mapping[str, Any]) -> list[str]:
    """Make the settings what they were, and return the names of those that were not."""
    changed = [name for name, value in before.items() if _read(name) != value]
    for name in changed:
        SETTINGS[name][1](before[name])
    return changed


@contextmanager
def unchanged() -> Iterator[None]:
    """Run code of a method that must leave the settings as they are; they are put back in any case.

    Raises:
        RuntimeError: If they are not, with what was changed.
    """
    before, changed = settings(), list[str]()
    try:
        yield
    finally:
        changed += put_back(before)
    if changed:
        raise RuntimeError(f"it changed {', '.join(changed)} for the whole process")
