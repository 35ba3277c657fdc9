"""Unpacks archives without ever writing outside the folder they are unpacked to."""

from __future__ import annotations

import gzip
import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from kdbench.errors import UserError

SPARE = 64 * 1024 * 1024
"""Bytes of the disk that stay free."""

DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    gzip.BadGzipFile,
    lzma.LZMAError,
    EOFError,
)

Entry = tuple[str, int, Callable[[], IO[bytes] | None]]
"""Name, size in bytes and how to open it."""


def extract(archive: Path, into: Path) -> None:
    """Unpack the folders and plain files of a .tar (also compressed) or .zip.

    Permissions, owners and times are not taken over. Nothing is written unless every entry is harmless.

    Args:
        archive: The archive.
        into: Folder to unpack to; made when missing.

    Raises:
        UserError: When an entry is absolute, climbs out by ``..``, is a link or a device; when the archive is
            damaged; when the disk is too small.
    """
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as zipped:
                _write(list(_zip_entries(zipped, archive)), into, archive)
        else:
            with tarfile.open(archive) as tarred:
                _write(list(_tar_entries(tarred, archive)), into, archive)
    except DAMAGE as error:
        raise UserError(f"{archive} is damaged ({error}): remove it and get it again.") from error


def target_of(name: str, into: Path) -> Path:
    """Where an entry goes. Raises ValueError when that is not inside ``into``."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or PureWindowsPath(name).drive or ".." in path.parts or "\0" in name:
        raise ValueError(f"{name!r} leads out of the folder")
    return into.joinpath(*path.parts)


def need_space(folder: Path, size: int, what: str) -> None:
    """Raise UserError unless the disk of ``folder`` has ``size`` bytes to spare."""
    free = shutil.disk_usage(folder).free
    if free < size + SPARE:
        needed = (size + SPARE - free) / 2**20
        raise UserError(
            f"no disk space for {what} in {folder}: free {needed:.0f} MiB or name another --root."
        )


def _tar_entries(tarred: tarfile.TarFile, archive: Path) -> Iterator[Entry]:
    for member in tarred:
        if member.isdir():
            continue
        if not member.isreg():
            raise UserError(f"{archive} has a link or device, {member.name!r}: it is not unpacked.")
        yield member.name, member.size, lambda member=member: tarred.extractfile(member)  # type: ignore[misc]


def _zip_entries(zipped: zipfile.ZipFile, archive: Path) -> Iterator[Entry]:
    for info in zipped.infolist():
        if info.is_dir():
            continue
        kind = (info.external_attr >> 16) & 0o170000
        if kind not in (0, 0o100000):
            raise UserError(f"{archive} has a link or device, {info.filename!r}: it is not unpacked.")
        yield info.filename, info.file_size, lambda info=info: zipped.open(info)  # type: ignore[misc]


def _write(entries: list[Entry], into: Path, archive: Path) -> None:
    try:
        targets = [target_of(name, into) for name, _, _ in entries]
    except ValueError as error:
        raise UserError(f"{archive} is not unpacked: {error}.") from error
    into.mkdir(parents=True, exist_ok=True)
    need_space(into, sum(size for _, size, _ in entries), archive.name)
    for target, (_, _, opened) in zip(targets, entries, strict=True):
        target.parent.mkdir(parents=True, exist_ok=True)
        source = opened()
        assert source is not None
        with source, target.open("wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
