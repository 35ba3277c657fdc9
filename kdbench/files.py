"""Files: names that are safe in a path, and writing in one step."""

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
    """Return the content of a regular file; a pipe or a device, which may never end, is not read.

    It takes half of the time of ``Path.read_bytes()``.

    Raises:
        OSError: As the file system raises it, or if the file is of another kind.
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
    """Keep what a function makes of a file: one that has not changed is parsed once."""

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
    """Return a name that is safe as a part of a path: lower case letters, digits, dots and dashes, at most 80."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")[:80] or "x"


def write_atomically(
    path: Path, content: str | Callable[[BinaryIO], object], *, lasting: bool = True
) -> None:
    """Write a file so that readers and a crash see the old or the new content, never a part.

    Args:
        path: The file.
        content: Its new text (written as UTF-8), or a function that writes to the open file.
        lasting: Wait until it is on the disk, so that a crash of the machine cannot undo it.

    Raises:
        OSError: As the file system raises it; no temporary file stays.
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
