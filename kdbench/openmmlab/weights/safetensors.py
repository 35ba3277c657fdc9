"""Reads weights in the format safetensors: a JSON table of names, types, shapes and places, and the bytes."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
LENGTH = 8
"""Bytes of the number that a file begins with: the length of its table."""


def is_safetensors(file: Path) -> bool:
    """Whether a file begins as this format does."""
    with file.open("rb") as opened:
        start = opened.read(LENGTH + 1)
    return start[LENGTH:] == b"{" and int.from_bytes(start[:LENGTH], "little") < file.stat().st_size


def read_safetensors(file: Path) -> dict[str, Tensor]:
    """Return the tensors of a file, on the CPU, by name.

    Raises:
        ValueError: If the table or a tensor's bytes are not whole, or a type is none of :data:`TYPES`.
    """
    content = bytearray(file.read_bytes())
    end = LENGTH + int.from_bytes(content[:LENGTH], "little")
    table = json.loads(content[LENGTH:end])
    table.pop("__metadata__", None)
    try:
        return {name: _tensor(memoryview(content)[end:], **entry) for name, entry in table.items()}
    except (KeyError, TypeError, RuntimeError) as error:
        raise ValueError(str(error)) from error


def _tensor(content: memoryview, dtype: str, shape: list[int], data_offsets: list[int]) -> Tensor:
    begin, end = data_offsets
    part = content[begin:end]
    if len(part) != end - begin:
        raise ValueError("its bytes end early")
    flat = torch.frombuffer(part, dtype=TYPES[dtype]) if len(part) else torch.empty(0, dtype=TYPES[dtype])
    return flat.reshape(shape).clone()
