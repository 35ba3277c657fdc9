"""Files: safe names, cached parsing and atomic writing."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import uuid
from collections.abc import Callable
from functools import lru_cache, wraps
from pathlib import Path
from typing import BinaryIO, TypeVar

T = TypeVar("T")


def read_regular(path: str | Path) -> bytes:
    """Return the content of a regular file, but do not read pipes and devices, which may be endless.

    This takes half the time of ``Path.read_bytes()``.

    Raises:
        OSError: If the file cannot be read or is not a regular file.
    """
    file, blocks = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), []
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(errno.EINVAL, "no regular file", str(path))
        while block := os.read(file, 1 << 16):
            blocks.append(block)
    finally:
        os.close(file)
    return b"".join(blocks)


def parsed_once(parse: Callable[[Path], T]) -> Callable[[Path], T]:
    """Cache the result of a function of a file until the file changes."""

    @lru_cache(maxsize=8)
    def kept(path: Path, changed: int, size: int) -> T:
        return parse(path)

    @wraps(parse)
    def read(path: Path) -> T:
        found = path.stat()
        return kept(path, found.st_mtime_ns, found.st_size)

    return read


@lru_cache(maxsize=4096)
def slug(text: str) -> str:
    """Return a name that is safe in a path: at most 80 lower case letters, digits, dots and dashes."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")[:80] or "x"


def write_atomically(
    path: Path, content: str | Callable[[BinaryIO], object], *, lasting: bool = True
) -> None:
    """Write a file atomically: readers see the old or the new content, even after a crash.

    Args:
        path: The file.
        content: New text (written as UTF-8), or a function that writes to the open file.
        lasting: Whether to wait until it is on disk, so that a crash of the machine cannot undo it.

    Raises:
        OSError: If the file cannot be written; no temporary file is left.
    """
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            if isinstance(content, str):
                file.write(content.encode())
            else:
                content(file)
            if lasting:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
