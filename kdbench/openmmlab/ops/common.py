"""What the ops share: computing half precision in float32, and the error of an op without a counterpart."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NoReturn

import torch
from torch import Tensor

Op = Callable[..., Any]

FIX = (
    "build mmcv with its compiled ops (needs a C++ compiler, and nvcc for a GPU): "
    "pip install --no-build-isolation --no-deps --no-cache-dir --force-reinstall onedl-mmcv"
)


def widened(tensor: Tensor) -> Tensor:
    """Return a float32 copy of a float16 or bfloat16 tensor, else the tensor itself.

    torchvision's kernels lack half precision or round badly in it.
    """
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


@cache
def unsupported(name: str) -> Op:
    """Return a callable that raises NotImplementedError, naming the op and the fix, when it is called."""

    def op(*_: Any, **__: Any) -> NoReturn:
        raise NotImplementedError(f"mmcv's op '{name}' has no stand-in in torchvision; {FIX}.")

    op.__name__ = op.__qualname__ = name
    return op
