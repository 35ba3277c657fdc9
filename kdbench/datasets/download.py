"""Download a file, resumed where it stopped and checked by its hash, and unpack it."""

from __future__ import annotations

import errno
import gzip
import http.client
import logging
import lzma
import re
import shutil
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

from kdbench.errors import UserError, reason
from kdbench.specs import file_digest

log = logging.getLogger(__name__)

TIMEOUT = 60.0
"""Seconds without a byte after which a connection counts as lost."""
ATTEMPTS = 5
"""Attempts in a row that bring no byte before giving up."""
PAUSE = 2.0
"""Seconds before the second attempt; doubled each time."""
BLOCK = 1 << 18
SPARE = 64 * 1024 * 1024
"""Bytes of the disk that stay free."""
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)
"""Errors of the disk, not of the network: trying again is of no use."""

DAMAGED = (
    *(zlib.error, lzma.LZMAError, gzip.BadGzipFile, EOFError),
    *(KeyError, ValueError, OverflowError, RuntimeError),
)
"""Errors that an archive's content causes; the latter come from links and numbers in its headers."""


def download(url: str, folder: Path, expected: str) -> Path:
    """Download a file with a bar on stderr, going on with what an earlier call left in ``NAME.part``.

    Args:
        url: Address, http or https.
        folder: Where the file goes, under its own name; made when missing.
        expected: SHA-256 or MD5 that it must have, in hex, or the first digits of the former. Empty where none is
            known: then the user, who is told the file's, confirms it by writing it to ``NAME.sha256``.

    Returns:
        The file.

    Raises:
        UserError: When the server cannot be reached, refuses, or sends something else; when the disk is full; when
            the file's hash is to be confirmed.
    """
    target = folder / PurePosixPath(urlsplit(url).path).name
    folder.mkdir(parents=True, exist_ok=True)
    if not expected:
        return _confirmed(url, target)
    if target.exists() and _digest(target, expected).startswith(expected):
        log.info(f"{target} already exists.")
        return target
    part = arrived(url, target)
    found = _digest(part, expected)
    if not found.startswith(expected):
        part.unlink()
        kind = _kind(expected)
        raise UserError(
            f"{url} sent a file with {kind} {found} and not {expected}; it was removed. Try again, or get the "
            "data elsewhere and give it as `source`."
        )
    part.replace(target)
    return target


def _confirmed(url: str, target: Path) -> Path:
    """Download a file of which no hash is known. Raises UserError until the user has confirmed the file's."""
    note = target.with_name(f"{target.name}.sha256")
    if not target.exists():
        arrived(url, target).replace(target)
    found = file_digest(target)
    if note.is_file() and note.read_text(encoding="utf-8").split()[:1] == [found]:
        return target
    raise UserError(
        f"kdbench knows no hash of {url} that was verified. {target} has SHA-256 {found}: compare it with another "
        f"copy's, then write it to {note} and give the same command again."
    )


def arrived(url: str, target: Path) -> Path:
    """Download a file to ``NAME.part`` and return that, unchecked. Raises UserError as :func:`download` does."""
    part = target.with_name(f"{target.name}.part")
    log.info(f"Downloading {url}.")
    _fetch(url, part)
    return part


def _kind(expected: str) -> str:
    return "MD5" if len(expected) == 32 else "SHA-256"


def _digest(path: Path, expected: str) -> str:
    """Return the hash of a file, of the same kind as an expected one."""
    return file_digest(path, _kind(expected).replace("-", "").lower())


def extract(archive: Path, into: Path) -> None:
    """Unpack a .zip file, or a .tar file, compressed or not, of which nothing leaves the folder.

    Args:
        archive: The file.
        into: Folder to unpack to, made when missing; it is left incomplete when this fails.

    Raises:
        UserError: If an entry leads out of the folder or is a device, or the archive is damaged.
    """
    try:
        if archive.suffix == ".zip":
            with zipfile.ZipFile(archive) as file:
                file.extractall(into, map(_inside, file.namelist()))
        else:
            with tarfile.open(archive) as tar:
                tar.extractall(into, filter="data")
    except tarfile.FilterError as error:
        raise UserError(f"{archive} is not safe to unpack ({error}): get it elsewhere.") from error
    except (tarfile.TarError, zipfile.BadZipFile, *DAMAGED) as error:
        raise UserError(f"{archive} is damaged ({reason(error)}): remove it and get it again.") from error
    except OSError as error:
        if error.errno in DISK:
            raise
        raise UserError(f"{archive} cannot be unpacked ({reason(error)}): get it elsewhere.") from error


def _inside(name: str) -> str:
    """Return the name of an entry in a zip file. Raises FilterError where it leads out of the folder."""
    if name.startswith(("/", "\\")) or ".." in PurePosixPath(name.replace("\\", "/")).parts:
        raise tarfile.OutsideDestinationError(tarfile.TarInfo(name), name)
    return name


def need_space(folder: Path, size: int, what: str) -> None:
    """Raise UserError unless the disk of ``folder`` has ``size`` bytes to spare."""
    free = shutil.disk_usage(folder).free
    if free < size + SPARE:
        needed = (size + SPARE - free) / 2**20
        raise UserError(
            f"no disk space for {what} in {folder}: free {needed:.0f} MiB or name another `data_root`."
        )


def _fetch(url: str, part: Path) -> None:
    """Fill ``part``; attempts that bring bytes do not count against the limit."""
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task(part.name, total=None)
        failures = 0
        while True:
            before = _size(part)
            try:
                return _attempt(
                    url, part, lambda done, total: progress.update(bar, completed=done, total=total)
                )
            except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
                failures = 1 if _size(part) > before else failures + 1
                if failures >= ATTEMPTS or _hopeless(error):
                    raise UserError(
                        f"cannot download {url}: {_reason(error)}. The same command goes on where this one "
                        "stopped; or get the data elsewhere and give it as `source`."
                    ) from error
            time.sleep(PAUSE * 2 ** (failures - 1))


def _attempt(url: str, part: Path, advance: Callable[[int, int | None], Any]) -> None:
    """One connection: append what is missing; raises OSError when it ends early."""
    done = _size(part)
    headers = {"User-Agent": "kdbench"} | ({"Range": f"bytes={done}-"} if done else {})
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        if re.fullmatch(rf"bytes \*/{done}", error.headers.get("Content-Range", "")):
            return
        part.unlink()
        raise OSError("the server has another file than before") from error
    with response:
        start, total = _extent(response, done)
        need_space(part.parent, (total or start) - start, part.name.removesuffix(".part"))
        with part.open("r+b" if start else "wb") as file:
            file.seek(start)
            while block := response.read(BLOCK):
                file.write(block)
                advance(file.tell(), total)
            end = file.tell()
    if total is not None and end != total:
        raise OSError(f"the connection ended at byte {end} of {total}")


def _extent(response: Any, done: int) -> tuple[int, int | None]:
    """First byte that the server sends, and the size of the whole file where it says so."""
    length = response.headers.get("Content-Length")
    if response.status != http.client.PARTIAL_CONTENT:
        return 0, None if length is None else int(length)
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    if found is None or int(found[1]) != done:
        raise http.client.HTTPException("the server sent another part than asked for")
    return done, None if found[2] == "*" else int(found[2])


def _hopeless(error: Exception) -> bool:
    """Whether another attempt would end the same way."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code < 500 and error.code not in (408, 429)
    return isinstance(error, OSError) and error.errno in DISK


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server says {error.code} {error.reason}"
    return str(getattr(error, "reason", error)) or type(error).__name__


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
