"""Hashes everything that a model's config resolves to, so that no change goes unnoticed. Imports no torch."""

from __future__ import annotations

import copy
import json
from functools import cache
from pathlib import Path
from typing import Any

from mmengine.config import Config

from kdbench.errors import UserError
from kdbench.openmmlab.models.configs import (
    edit,
    family_of,
    initial_weights,
    own_modules,
    read_config,
    revised_keys,
)
from kdbench.source import source_hash
from kdbench.specs import Family, Model, digest, file_digest


def model_hash(model: Model, *, pretrained: bool) -> str:
    """Return the SHA-256 (hex) of everything that a model is built from.

    That is the config's ``model`` with what it inherits and the edits, the source of the modules in its
    ``custom_imports``, its ``revise_keys`` and, if training starts from weights in a file, their content.

    Args:
        model: Config and edits.
        pretrained: Whether training starts from the initial weights that the config names.

    Raises:
        UserError: If the config does not exist, does not parse or has no model, or an edit does not fit it.
    """
    config = _edited(model)
    parts: dict[str, Any] = {
        "model": json.dumps(config.model.to_dict(), sort_keys=True, default=str),
        "modules": {name: source_hash(name) for name in own_modules(config)},
        "weights": _weight_hashes(config.model) if pretrained else {},
    }
    if renames := revised_keys(config):
        parts["revise_keys"] = renames
    return digest(parts)


def family_in(model: Model) -> Family:
    """Return the family of a model by its config.

    Raises:
        UserError: As :func:`model_hash`, or if the family is unknown.
    """
    return family_of(_edited(model).model)


def _edited(model: Model) -> Config:
    read = _library_config if "::" in model.config else _config
    config = copy.deepcopy(read(model.config))
    edit(config.model, model)
    return config


def _config(reference: str) -> Config:
    return read_config(reference, import_modules=False)


_library_config = cache(_config)
"""Reads a library's own config once, since it does not change while this process lives."""


def _weight_hashes(model: Any) -> dict[str, str]:
    """Return the hash of each existing file of initial weights, by reference."""
    files = {name: Path(name).expanduser() for name in initial_weights(model) if "://" not in name}
    try:
        return {name: file_digest(file) for name, file in files.items() if file.is_file()}
    except OSError as error:
        raise UserError(f"cannot read {error.filename}: {error.strerror}.") from error
