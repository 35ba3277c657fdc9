"""Hashes of a dataset's files, each read once: an index in the user's cache shows which have changed since."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from kdbench.files import write_atomically
from kdbench.specs import digest

SETTLED = 2.0
"""Seconds for which a file must have been left alone to be indexed: so coarse are times of files on some disks."""


def cache_folder() -> Path:
    """Return the folder of kdbench's caches, which ``XDG_CACHE_HOME`` moves."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kdbench"


class HashIndex:
    """Hashes of the files below a folder, or other short texts that follow from a file's content.

    A file is read again when its path, size, time of modification or of change, or inode differs from the index.

    Args:
        folder: Folder of the files, or the one file; each has an index of its own.
        rehash: Read every file again.
    """

    def __init__(self, folder: Path, *, rehash: bool = False) -> None:
        self.file = cache_folder() / "hashes" / f"{digest(str(folder.resolve()))[:16]}.json"
        self._known: dict[str, list[int | str]] = {} if rehash else self._read()
        self._found: dict[str, list[int | str]] = {}
        self._told: dict[tuple[str, Path], str] = {}
        """What was asked for already: one file may have the annotations of a hundred thousand images."""

    def _read(self) -> dict[str, list[int | str]]:
        try:
            values = json.loads(self.file.read_bytes())
        except (OSError, ValueError):
            return {}
        return values if isinstance(values, dict) else {}

    def hash_of(self, path: Path, compute: Callable[[Path], str]) -> str:
        """Return the hash of a file, which is looked at once.

        Args:
            path: The file.
            compute: Hashes it, where the index does not have it.

        Raises:
            OSError: If it cannot be read.
        """
        asked = (compute.__name__, path)
        if asked not in self._told:
            self._told[asked] = self._hash(path, compute)
        return self._told[asked]

    def _hash(self, path: Path, compute: Callable[[Path], str]) -> str:
        found = path.stat()
        stamp = [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]
        key = f"{compute.__name__} {path.absolute()}"
        known = self._known.get(key)
        value = str(known[-1]) if known is not None and known[:-1] == stamp else compute(path)
        if time.time() - max(found.st_mtime, found.st_ctime) > SETTLED:
            self._found[key] = [*stamp, value]
        return value

    def save(self) -> None:
        """Write the index where it has changed; a cache that cannot be written only costs time."""
        if all(self._known.get(key) == entry for key, entry in self._found.items()):
            return
        with contextlib.suppress(OSError):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.file, json.dumps(self._known | self._found), lasting=False)
