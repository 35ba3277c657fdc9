"""Small tensors that mmdet and mmseg make from the same numbers in each step, made once for each device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from kdbench.devices import CPU

_made: dict[tuple[Any, ...], Tensor] = {}


@contextmanager
def constants_reused(device: torch.device) -> Iterator[None]:
    """Let ``new_tensor`` return the same tensor for the same numbers, unless the device is the CPU.

    ``Tensor.new_tensor`` copies numbers from the host, which waits for the copy: twice for each box coder, once for
    each overlap.
    """
    if device.type == CPU:
        yield
        return
    torch.Tensor.new_tensor = _new_tensor  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        del torch.Tensor.new_tensor


def _new_tensor(self: Tensor, data: Any, *args: Any, **kwargs: Any) -> Tensor:
    make = torch._C.TensorBase.new_tensor
    numbers = tuple(data) if isinstance(data, list | tuple) else (data,)
    plain = all(isinstance(number, int | float) for number in numbers)
    if args or kwargs or not plain:
        return make(self, data, *args, **kwargs)
    key = self.device, self.dtype, isinstance(data, list | tuple), numbers
    made = _made.get(key)
    if made is None or made._version:  # or changed in place
        made = _made[key] = make(self, data)
    return made
