"""Hash of a plugin's own source files, which are found without importing them."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

from kdbench.specs import digest, file_digest

FOREIGN = frozenset({"kdbench", "mmcv", "mmdet", "mmengine", "mmseg"}) | sys.stdlib_module_names
"""Top-level packages that never count as a plugin's own; a record has their versions."""
SITES = frozenset({"site-packages", "dist-packages"})
"""Folders that many distributions share."""


@cache  # a process keeps running the code that it has imported
def source_hash(module: str, distribution: str = "") -> str:
    """Return the SHA-256 (hex) of a module's own source.

    It covers the module, the rest of its sub-package, and the modules that these import, at the top or inside
    functions, from the same top-level package or distribution or, outside of ``site-packages``, the same folder.

    Args:
        module: Dotted name.
        distribution: Name of the distribution that it comes from, if known.
    """
    top = module.partition(".")[0]
    tops = {top, *_tops(distribution)} - FOREIGN
    todo, found = [module, *_sub_package(module)], dict[str, str]()
    while todo:
        name = todo.pop()
        first = name.partition(".")[0]
        file = _file(name) if first in tops or _beside(first, top) else None
        if file is not None and name not in found:
            found[name] = file_digest(file)
            todo += _imports(name, file)
    return digest(found)


def _tops(distribution: str) -> set[str]:
    """Return the top-level names of a distribution's Python files."""
    try:
        files = metadata.files(distribution) if distribution else None
    except metadata.PackageNotFoundError:
        files = None
    return {file.parts[0].removesuffix(".py") for file in files or () if file.suffix == ".py"}


def _sub_package(module: str) -> Iterator[str]:
    """Yield all modules of the package that contains a module, unless that is a top-level package."""
    file = _file(module)
    package = module if file is not None and file.name == "__init__.py" else module.rpartition(".")[0]
    if file is None or "." not in package:
        return
    for path in sorted(file.parent.rglob("*.py")):
        parts = path.relative_to(file.parent).with_suffix("").parts
        yield ".".join([package, *(part for part in parts if part != "__init__")])


def _file(name: str) -> Path | None:
    """Return the Python file of a module, or None."""
    top, *rest = name.split(".")
    try:
        found = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if found is None:
        return None
    if not rest:
        return Path(found.origin) if found.origin is not None and found.origin.endswith(".py") else None
    places = [Path(folder).joinpath(*rest) for folder in found.submodule_search_locations or ()]
    files = [file for path in places for file in (path / "__init__.py", path.with_name(f"{path.name}.py"))]
    return next((file for file in files if file.is_file()), None)


def _beside(name: str, top: str) -> bool:
    """Whether two top-level modules are in the same folder, other than one that many distributions share."""
    if name in FOREIGN:
        return False
    one, other = _folder(name), _folder(top)
    return one is not None and one == other and not SITES & set(one.parts)


def _folder(top: str) -> Path | None:
    file = _file(top)
    return None if file is None else file.parent.parent if file.name == "__init__.py" else file.parent


def _imports(name: str, file: Path) -> Iterator[str]:
    """Yield the dotted names that a file may import; for ``from a import b``, both ``a`` and ``a.b``."""
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            try:
                base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            except ImportError:
                continue
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
