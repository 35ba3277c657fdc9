"""Which code of its method a run was made with: no number is to be of two methods under one name."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

from kdbench.specs import digest, file_digest

FILE = "method-code.txt"
"""In a run's folder: the hash of the code."""
OUTDATED = "with other code of the method than today's: a new version of its package runs it again"


@cache
def code_of(target: str) -> str:
    """SHA-256 (hex) of the Python files of the package that ``package.module:name`` is in."""
    package = target.partition(":")[0].partition(".")[0]
    found = importlib.util.find_spec(package)
    folders = [Path(folder) for folder in (found and found.submodule_search_locations) or ()]
    files = {path.relative_to(folder).as_posix(): path for folder in folders for path in folder.rglob("*.py")}
    if found is not None and not folders and found.origin is not None:
        files[package] = Path(found.origin)  # a module of its own
    return digest({name: file_digest(path) for name, path in files.items()})


def outdated(folder: Path, target: str) -> bool:
    """Whether a run's folder tells of other code of its method (``package.module:name``) than there is now."""
    file = folder / FILE
    return file.is_file() and file.read_text() != code_of(target)
