"""Tensors to the device: all of a batch in one copy, from pinned memory, which the host does not wait for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor

from kdbench.devices import CPU

ALIGNMENT = 16
"""Bytes: what the start of each tensor in the buffer is a multiple of."""


def to_device(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Copy tensors of the CPU to a device, without waiting.

    Args:
        tensors: Of any shapes and types.
        device: Where to.

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
        _part(buffer, tensor, start).copy_(tensor)
    moved = buffer.pin_memory().to(device, non_blocking=True)  # what is pinned already stays what it is
    return [_part(moved, tensor, start) for tensor, start in zip(tensors, starts, strict=True)]


def _part(buffer: Tensor, like: Tensor, start: int) -> Tensor:
    """Return the part of a buffer of bytes that holds a tensor like another one."""
    return buffer[start : start + like.nbytes].view(like.dtype).view(like.shape)


def batch_to_device(data: Any, device: torch.device) -> Any:
    """Move a loaded batch with all its tensors to a device.

    Args:
        data: Containers, mmengine's data elements and boxes, with tensors of the CPU.
        device: Where to.
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
