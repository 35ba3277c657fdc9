"""Saves waits of the host: a batch is moved to the device in one copy, and small constants are made only once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.model import ImgDataPreprocessor
from mmengine.structures import BaseDataElement
from torch import Tensor

from kdbench.devices import CPU

ALIGNMENT = 16
"""Alignment of the tensors in the buffer, in bytes."""
_constants: dict[tuple[Any, ...], Tensor] = {}


def to_device(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Copy tensors from the CPU to a device, without waiting.

    Args:
        tensors: Tensors of any shapes and types.
        device: Target.

    Returns:
        Views of one buffer there, in the same order; on a CPU the tensors themselves.
    """
    if device.type == CPU:
        return list(tensors)
    starts, size = [], 0
    for tensor in tensors:
        starts.append(size)
        size += -(-tensor.nbytes // ALIGNMENT) * ALIGNMENT
    buffer = torch.empty(size, dtype=torch.uint8, pin_memory=device.type == "cuda")
    for tensor, start in zip(tensors, starts, strict=True):
        _view_like(buffer, tensor, start).copy_(tensor)
    moved = buffer.pin_memory().to(device, non_blocking=True)  # a no-op for pinned memory
    return [_view_like(moved, tensor, start) for tensor, start in zip(tensors, starts, strict=True)]


def _view_like(buffer: Tensor, like: Tensor, start: int) -> Tensor:
    """Return the part of a buffer of bytes that holds a tensor like another one."""
    return buffer[start : start + like.nbytes].view(like.dtype).view(like.shape)


def batch_to_device(data: Any, device: torch.device) -> Any:
    """Move a loaded batch with all its tensors to a device.

    Args:
        data: Nested containers, data elements of mmengine and boxes, with tensors on the CPU.
        device: Target.
    """
    found: list[Tensor] = []
    replaced(data, lambda tensor: found.append(tensor) or tensor)  # type: ignore[func-returns-value]
    moved = iter(to_device(found, device))
    return replaced(data, lambda _: next(moved))


def replaced(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Replace each tensor in a nest of containers and data elements, in a fixed order."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, BaseDataElement):
        made = value.new()
        for name, part in value.items():
            made.set_data({name: replaced(part, change)})
        return made
    if isinstance(getattr(value, "tensor", None), Tensor):  # mmdet's boxes
        return type(value)(change(value.tensor), clone=False)
    if isinstance(value, Mapping):
        return {name: replaced(part, change) for name, part in value.items()}
    if isinstance(value, list):
        return [replaced(part, change) for part in value]
    return value


class MovedAtOnce(ImgDataPreprocessor):  # type: ignore[misc]
    """A mixin for data preprocessors: one copy for each batch, channels swapped without a list of indices.

    On a CPU the preprocessor is mmdet's or mmseg's own.
    """

    _channel_conversion: bool

    def forward(self, data: Any, training: bool = False) -> Any:
        """Return the batch on the device, normalised and padded."""
        swaps = self._channel_conversion
        if self.device.type == CPU:
            return super().forward(data, training)
        try:
            self._channel_conversion = False  # swapped here
            images = _together(data["inputs"])
            moved = batch_to_device({**data, "inputs": images}, self.device)
            return super().forward(
                {**moved, "inputs": _swapped(moved["inputs"]) if swaps else moved["inputs"]}, training
            )
        finally:
            self._channel_conversion = swaps

    def cast_data(self, data: Any) -> Any:
        """Return the batch, which is on the device already."""
        return super().cast_data(data) if self.device.type == CPU else data


def _together(images: Any) -> Any:
    """Stack images (3, H, W) of one size."""
    if not isinstance(images, Tensor) and len({image.shape for image in images}) == 1:
        return torch.stack(list(images))
    return images


def _swapped(images: Any) -> Any:
    """Reverse the three channels of images."""
    if isinstance(images, Tensor):
        return images.flip(-3) if images.shape[-3] == 3 else images
    return [_swapped(image) for image in images]


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
    made = _constants.get(key)
    if made is None or made._version:  # or changed in place
        made = _constants[key] = make(self, data)
    return made
