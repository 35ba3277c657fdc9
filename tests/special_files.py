"""Files that must not be read as if they were regular ones: a reader of some would wait for ever."""

from __future__ import annotations

import os
from pathlib import Path

KINDS = ("pipe", "device", "folder", "dangling", "loop")


def make_special(file: Path, kind: str) -> None:
    """Make a file of one of :data:`KINDS`, in place of what is there."""
    file.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    else:
        file.symlink_to({"device": "/dev/zero", "dangling": "nowhere", "loop": file}[kind])
