"""Checkpoints that a training goes on from, read without executing them; so is whatever mmengine itself reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from mmengine.runner import checkpoint
from torch import nn

from kdbench.errors import UserError
from kdbench.openmmlab.weights.checkpoints import Inert, inert, load

PARTS = ("meta", "state_dict", "message_hub", "optimizer")
"""Dicts that mmengine writes to go on from."""


def read_training(file: Path) -> dict[str, Any]:
    """Read what mmengine writes while it trains: weights, optimizer, schedules and the curve.

    The history of logged losses and the time left are left out, which only what is logged next depends on; so is
    the config in it, which mmengine would execute.

    Raises:
        UserError: If the file cannot be read, must be executed, or is another kind of checkpoint.
    """
    return _training(load(file), file)


def _training(content: Any, file: Path) -> dict[str, Any]:
    if not isinstance(content, dict) or not all(isinstance(content.get(part), dict) for part in PARTS):
        raise UserError(f"{file} is no checkpoint of a training: remove it.")
    meta = {name: value for name, value in content["meta"].items() if name != "config"}
    if not isinstance(meta.get("iter"), int) or not isinstance(meta.get("epoch"), int):
        raise UserError(f"{file} does not say how long it was trained: remove it.")
    info = content["message_hub"].get("runtime_info")
    if not isinstance(info, dict):
        raise UserError(f"{file} does not hold the curve of a training: remove it.")
    kept = {name: value for name, value in info.items() if not isinstance(value, Inert)}
    hub = content["message_hub"] | {"log_scalars": {}, "runtime_info": kept}
    return content | {"meta": meta, "message_hub": hub}


def check_fits(model: nn.Module, content: Mapping[str, Any]) -> None:
    """Refuse a checkpoint of another model to go on from: mmengine would load the part that fits.

    Raises:
        UserError: If names or shapes differ.
    """
    theirs = {name: value.shape for name, value in content["state_dict"].items()}
    if theirs != {name: value.shape for name, value in model.state_dict().items()}:
        raise UserError("the run's checkpoint is of another model: remove the iter_*.pth from its folder.")


def _read_for_mmengine(filename: str, map_location: Any = None) -> Any:
    """Stand in for mmengine's reader of local files, which executes what it cannot read otherwise."""
    file = Path(filename).expanduser()
    content = load(file, map_location)
    whole = isinstance(content, dict) and all(part in content for part in PARTS)
    return _training(content, file) if whole else content


def _fetch_for_mmengine(url: str, **options: Any) -> Any:
    """Stand in for mmengine's download, which executes what it has downloaded."""
    try:
        with inert():
            return torch.hub.load_state_dict_from_url(url, **options, weights_only=True)
    except UnpicklingError as error:
        raise UserError(
            f"{url} is no checkpoint, or must be executed to be read: give another one."
        ) from error


checkpoint.CheckpointLoader.register_scheme("", loader=_read_for_mmengine, force=True)
checkpoint.load_url = _fetch_for_mmengine
