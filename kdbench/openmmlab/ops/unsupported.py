"""Ops that torchvision has no counterpart of: they raise when they are called."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NoReturn

Op = Callable[..., Any]

FIX = (
    "build mmcv with its compiled ops (needs a C++ compiler, and nvcc for a GPU): "
    "pip install --no-build-isolation --no-deps --no-cache-dir --force-reinstall onedl-mmcv"
)


@cache
def unsupported(name: str) -> Op:
    """Return a callable that raises NotImplementedError, naming the op and the fix, when it is called."""

    def op(*_: Any, **__: Any) -> NoReturn:
        raise NotImplementedError(f"mmcv's op '{name}' has no stand-in in torchvision; {FIX}.")

    op.__name__ = op.__qualname__ = name
    return op
