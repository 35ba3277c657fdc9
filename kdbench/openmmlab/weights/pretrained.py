"""The weights that configs start from: what they are, and whether they are on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from mmengine.config import ConfigDict

from kdbench.errors import UserError
from kdbench.openmmlab.models.configs import walk
from kdbench.openmmlab.weights.checkpoints import load, read_state_dict
from kdbench.openmmlab.weights.safetensors import is_safetensors
from kdbench.specs import file_digest

SHIPPED = "kdbench"
"""Scheme of weights for which OpenMMLab has no name: only `kdbench weights add` puts them on this machine."""


def require_pretrained(config: ConfigDict, *, download: bool) -> None:
    """Refuse a model whose initial weights mmengine would fetch from the network unasked.

    Args:
        config: The ``model`` of a config.
        download: Let mmengine fetch what is not in torch's cache.

    Raises:
        UserError: If initial weights are not on this machine, unless ``download``; if a file that the config
            names is not there, or nobody knows the name; if a file is truncated or must be executed to be
            read.
    """
    _let_mmengine_read_shipped()
    for reference in initial_weights(config):
        file, remote = location(reference)
        if file.is_file() and is_safetensors(file):
            raise UserError(
                f"the config starts from {reference}, which mmengine cannot read: save it with torch.save."
            )
        if file.is_file():
            read_state_dict(file)
            continue
        if remote and download:
            continue
        if reference.startswith(f"{SHIPPED}://"):
            raise UserError(
                f"the config starts from {reference}, which is not in {file.parent}: `kdbench weights list` names "
                "its package and `kdbench weights add` puts it there; `from_scratch=True` trains without it."
            )
        if not remote:
            raise UserError(
                f"the config starts from {reference}, which does not exist: check its path; "
                "`from_scratch=True` trains without it."
            )
        raise UserError(
            f"the config starts from {reference}, which is not in {file.parent}: `download=True` fetches it, "
            "`from_scratch=True` trains without it."
        )


def initial_weights(config: ConfigDict) -> list[str]:
    """List the checkpoints that building the model would load, each once."""
    named = [reference for part in walk(config) for reference in _named_by(part)]
    return list(dict.fromkeys(named))


def origins(config: ConfigDict) -> list[str]:
    """Return a line for each of the model's initial weights on this machine, with the SHA-256 of its file."""
    files = {reference: location(reference)[0] for reference in initial_weights(config)}
    return [
        f"starts from {reference}, SHA-256 {file_digest(file)}"
        for reference, file in files.items()
        if file.is_file()
    ]


def _named_by(part: ConfigDict) -> Iterator[str]:
    if isinstance(part.get("pretrained"), str):
        yield part["pretrained"]
    if part.get("type") == "Pretrained" and isinstance(part.get("checkpoint"), str):
        yield part["checkpoint"]


def location(reference: str) -> tuple[Path, bool]:
    """Return where initial weights are looked for, and whether mmengine would fetch them there.

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
    """Tell mmengine how to load what ``kdbench weights add`` wrote under a name of its own."""
    from mmengine.runner.checkpoint import CheckpointLoader

    def load_from_shipped(reference: str, map_location: Any) -> Any:
        return load(location(reference)[0], map_location)

    CheckpointLoader.register_scheme(f"{SHIPPED}://", load_from_shipped, force=True)


def _address(scheme: str, name: str) -> str | None:
    """Address of a model zoo's weights by mmengine's own tables, or None."""
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
