"""Finds checkpoints by address or by their name in OpenMMLab's model zoos. Imports no torch."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from kdbench.datasets import download as downloads
from kdbench.datasets.hashed import cache_folder
from kdbench.errors import UserError
from kdbench.openmmlab.models.configs import configs_of
from kdbench.openmmlab.setup import LIBRARIES
from kdbench.plugins import suggestion
from kdbench.specs import digest

ENTRY = re.compile(r"^[ -]*(Name|Weights): *(\S+) *$", re.MULTILINE)
"""A model's name, or the address of its weights, in the metafiles beside OpenMMLab's configs."""
HASHED = re.compile(r"-([0-9a-f]{8,64})\.pth$")
"""End of a published file's name: the first digits of its SHA-256."""


def checkpoint_file(reference: str, *, download: bool) -> Path:
    """Return the file of a checkpoint.

    Args:
        reference: A file, an ``http`` or ``https`` address, or ``mmdet::NAME`` or ``mmseg::NAME``, the name of
            a model in that library's model zoo.
        download: Whether to download what is not in the cache; a hash in the file's name is checked.

    Raises:
        UserError: If there is no such model, its file is not on this machine and may not be downloaded, or the
            download fails.
    """
    address = published(reference) if "::" in reference else reference
    if not address.startswith(("http://", "https://")):
        return Path(reference)
    folder = cache_folder() / "checkpoints" / digest(address)[:12]
    name = address.partition("?")[0].rpartition("/")[2]
    if (folder / name).is_file():
        return folder / name
    if not download:
        raise UserError(
            f"checkpoint {reference} is not on this machine: `download=True` fetches it from {address}."
        )
    known = HASHED.search(name)
    if known:
        return downloads.download(address, folder, known[1])
    folder.mkdir(parents=True, exist_ok=True)
    return downloads.arrived(address, folder / name).replace(folder / name)


def published(reference: str) -> str:
    """Return the address of ``mmdet::NAME`` or ``mmseg::NAME``. Raises UserError unless there is one."""
    library, _, name = reference.partition("::")
    if library not in LIBRARIES.values():
        raise UserError(f"checkpoint {reference}: write mmdet::NAME or mmseg::NAME, an address, or a file.")
    found = _zoo(library)
    if name not in found:
        raise UserError(f"{library}'s model zoo has no weights of '{name}'.{suggestion(name, found)}")
    if len(found[name]) > 1:
        raise UserError(
            f"{library}'s model zoo has several weights of '{name}': give one of {', '.join(found[name])}."
        )
    return found[name][0]


@cache
def _zoo(library: str) -> dict[str, list[str]]:
    """Return the addresses of the weights of each model of a library, by its name."""
    found: dict[str, list[str]] = {}
    for file in sorted(configs_of(library).glob("*/metafile.y*ml")):
        name = ""
        for key, value in ENTRY.findall(file.read_text(encoding="utf-8")):
            if key == "Name":
                name = value
            elif value not in found.setdefault(name, []):
                found[name].append(value)
    return found
