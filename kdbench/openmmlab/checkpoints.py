"""Reads weights from OpenMMLab's and kdbench's checkpoints, without ever executing what a file holds."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from kdbench.errors import UserError

PREFIXES = ("module.", "student.")
"""What DDP and kdbench's own training checkpoints put before a student's names."""
LEAST_SHARE = 0.5
"""Below this share of loaded weights a checkpoint counts as another architecture's."""

COUNTER = "num_batches_tracked"
"""A BatchNorm layer's count of batches, which older checkpoints lack and no forward pass in evaluation reads."""


class Inert:
    """Stands for what mmengine saves beside the weights (logs, numpy scalars): holds and does nothing.

    mmengine's own list of safe globals has ``getattr``, through which a file reaches any builtin and so runs
    what it likes. Here such names give this class, and nothing of theirs is called.
    """

    def __init__(self, *_: Any) -> None: ...

    def __setstate__(self, _state: Any) -> None: ...


INERT = (
    "mmengine.logging.history_buffer.HistoryBuffer",
    "builtins.getattr",
    "builtins.slice",
    "numpy.ndarray",
    "numpy.dtype",
    "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
)
"""What mmengine's checkpoints name besides tensors and plain containers."""


def load_weights(model: nn.Module, file: Path) -> dict[str, str]:
    """Load the weights of a checkpoint whose names and shapes match the model's.

    The file holds ``{"state_dict": ...}`` or a bare state dict. ``ema_state_dict`` is not read: where
    mmengine's EMAHook wrote the file, the averaged weights are in ``state_dict``, and it has the raw ones.

    Args:
        model: Changed in place.
        file: The checkpoint.

    Returns:
        Name of each weight or statistic that was not loaded, which keeps its value -> why, in words.

    Raises:
        UserError: No such file, no checkpoint, truncated, one that must be executed to be read, or of another
            architecture. The model is unchanged then.
    """
    own = model.state_dict()
    found = without_prefixes(read_state_dict(file))
    matching = {
        name: value for name, value in found.items() if name in own and own[name].shape == value.shape
    }
    loaded = sum(own[name].numel() for name in matching)
    share = loaded / max(sum(value.numel() for value in own.values()), 1)
    if share < LEAST_SHARE:
        raise UserError(
            f"checkpoint {file} is of another architecture: it fits {share:.0%} of the weights of "
            f"{type(model).__name__}. Give the checkpoint of this config."
        )
    model.load_state_dict(matching, strict=False)
    missed = [name for name in own if name not in matching and not name.endswith(COUNTER)]
    return {name: _difference(own[name], found.get(name)) for name in missed}


def _difference(wanted: Tensor, found: Tensor | None) -> str:
    if found is None:
        return "not in the file"
    shapes = ["x".join(map(str, value.shape)) or "1" for value in (found, wanted)]
    return "{} in the file, {} here".format(*shapes)


def read_state_dict(file: Path) -> Mapping[str, Tensor]:
    """Return the state dict in a checkpoint, on the CPU.

    Raises:
        UserError: As :func:`load_weights` says.
    """
    if not file.is_file():
        raise UserError(f"checkpoint {file} does not exist: check the path.")
    content = _load(file)
    state = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping):
        raise UserError(f"{file} holds no weights: give a checkpoint with a state_dict.")
    tensors = {str(name): value for name, value in state.items() if isinstance(value, Tensor)}
    if not tensors:
        raise UserError(f"{file} holds no weights: give a checkpoint with a state_dict.")
    return tensors


def _load(file: Path) -> Any:
    try:
        with torch.serialization.safe_globals([(Inert, name) for name in INERT]):
            return torch.load(file, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        culprit = re.search(r"GLOBAL ([\w.]+)", str(error))
        if culprit is None:
            raise UserError(_unreadable(file)) from error
        raise UserError(
            f"checkpoint {file} holds python objects that would have to be executed ({culprit[1]}); if you "
            "trust it, re-save it with only tensors: "
            "torch.save({'state_dict': model.state_dict()}, 'weights.pth')."
        ) from error
    except PermissionError as error:
        raise UserError(f"checkpoint {file} cannot be read: {error.strerror}.") from error
    except Exception as error:
        raise UserError(_unreadable(file)) from error


def _unreadable(file: Path) -> str:
    size = file.stat().st_size
    return f"{file} ({size} bytes) is truncated or no checkpoint: get it again, or give another file."


def without_prefixes(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return the part under each of :data:`PREFIXES` that is present, without the prefix."""
    for prefix in PREFIXES:
        inner = {n.removeprefix(prefix): value for n, value in state.items() if n.startswith(prefix)}
        state = inner or state
    return state


def weights_hash(model: nn.Module) -> str:
    """SHA-256 (hex) over the names, types, shapes and bytes of a model's state dict, sorted by name."""
    whole = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        whole.update(f"{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
        whole.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return whole.hexdigest()
