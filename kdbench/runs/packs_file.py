"""The file with a worker's job."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, ValidationError

from kdbench.errors import UserError, explain
from kdbench.files import read_regular, write_atomically
from kdbench.runs.packs import Pack
from kdbench.runs.request import Request
from kdbench.runs.settings import RunSettings
from kdbench.specs import Spec


class PackFile(Spec):
    """Content of a pack's file."""

    name: str
    title: str
    requests: tuple[Request, ...] = Field(min_length=1)
    identities: tuple[str, ...]
    """Of the cells, in the order of ``requests``: a worker that finds others refuses."""
    settings: RunSettings

    @property
    def folder(self) -> Path:
        """Where the pack's progress and log are."""
        return self.settings.pack_folder(self.name)


def write(pack: Pack, name: str, settings: RunSettings) -> Path:
    """Write a pack's file in one step, into the folder of that name. Raises UserError where that fails."""
    content = PackFile(
        name=name,
        title=pack.title,
        requests=tuple(item.request for item in pack.items),
        identities=tuple(item.identity for item in pack.items),
        settings=settings,
    )
    file = content.folder / "pack.json"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, content.model_dump_json(indent=1) + "\n")
    except OSError as error:
        raise UserError(f"cannot write {file}: {error.strerror or error}.") from error
    return file


def read(file: Path) -> PackFile:
    """Read a pack's file. Raises UserError where it is none."""
    try:
        return PackFile.model_validate_json(read_regular(file))
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror or error}.") from error
    except ValidationError as error:
        raise UserError(f"{file} is not a pack of a sweep: {explain(error)}.") from error
