"""What an interrupted training resumes from: checkpoints that are read without executing what they hold.

On import, mmengine's own readers of checkpoints are replaced, so that whatever it loads is read like that too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from mmengine.dist import barrier, is_main_process
from mmengine.runner import checkpoint
from torch import nn

from kdbench.errors import UserError
from kdbench.openmmlab.training.run_files import POINTER, checkpoints, drop_checkpoints
from kdbench.openmmlab.weights.checkpoints import Inert, inert, load

TRAINING_PARTS = ("meta", "state_dict", "message_hub", "optimizer")
"""Dicts in each checkpoint that mmengine writes to resume from."""


@dataclass(frozen=True)
class ResumePoint:
    """What an interrupted training left in its folder.

    Attributes:
        iteration: Iteration to resume from; 0 to begin again.
        checkpoint: The newest checkpoint that can be read; None where there is none.
        unreadable: One line on each newer checkpoint that cannot be read.
        begun: Whether anything is left of an earlier training.
    """

    iteration: int = 0
    checkpoint: Path | None = None
    unreadable: list[str] = field(default_factory=list)
    begun: bool = False


def resume_point(work_dir: Path) -> ResumePoint:
    """Find the newest checkpoint in a run's folder that can be read, whatever mmengine's pointer to it says."""
    unreadable: list[str] = []
    for iteration, file in checkpoints(work_dir).items():
        try:
            read_training(file)
        except UserError as error:
            unreadable.append(str(error))
        else:
            return ResumePoint(iteration, file, unreadable, begun=True)
    return ResumePoint(unreadable=unreadable, begun=bool(unreadable) or (work_dir / POINTER).exists())


def is_of_this_code(file: Path, code: str) -> bool:
    """Whether a run's checkpoints were made by today's code of the method; those of other code are removed.

    In a distributed run every process calls it; the main one checks and the others wait for it.

    Args:
        file: File in the run's folder that stores the hash of the code; it is written if it differs.
        code: Hash of today's code.
    """
    ours = not is_main_process() or _stored(file, code)
    barrier()
    return ours


def _stored(file: Path, code: str) -> bool:
    """Store the hash; return False if checkpoints of other code were removed."""
    if file.is_file() and file.read_text(errors="replace") == code:
        return True
    began = bool(checkpoints(file.parent))
    drop_checkpoints(file.parent)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(code)
    return not began


def read_training(file: Path) -> dict[str, Any]:
    """Read a checkpoint that mmengine writes while it trains: weights, optimizer, schedules and the curve.

    Left out are the history of logged losses and the remaining time, which only concern the log, and the config,
    which mmengine would execute.

    Raises:
        UserError: If the file cannot be read, must be executed, or is another kind of checkpoint.
    """
    return _checked(load(file), file)


def _checked(content: Any, file: Path) -> dict[str, Any]:
    if not isinstance(content, dict) or not all(
        isinstance(content.get(part), dict) for part in TRAINING_PARTS
    ):
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
    """Refuse to resume from a checkpoint of another model: mmengine would load the part that fits.

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
    whole = isinstance(content, dict) and all(part in content for part in TRAINING_PARTS)
    return _checked(content, file) if whole else content


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
