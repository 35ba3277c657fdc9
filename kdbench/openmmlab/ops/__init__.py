"""mmcv's compiled ops: mmcv's own where they load, else torchvision's behind the same names.

mmcv's Python code asks for its extension by the name ``mmcv._ext``. A module of that name, put into
``sys.modules`` before ``mmcv.ops`` is imported, is enough: nothing in mmcv is patched.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

EXTENSION = "mmcv._ext"


def install() -> str:
    """Make ``mmcv.ops`` importable; call it before anything imports ``mmcv.ops``, mmdet or mmseg.

    A second call changes nothing.

    Returns:
        ``"mmcv"`` where mmcv's compiled extension loads, ``"torchvision"`` where its stand-in is used.

    Raises:
        ImportError: If mmcv itself, or torchvision, cannot be imported.
    """
    if EXTENSION not in sys.modules:
        importlib.import_module("mmcv")
        sys.modules[EXTENSION] = _load()
    return "torchvision" if _is_stand_in(sys.modules[EXTENSION]) else "mmcv"


def in_use() -> str | None:
    """Return what :func:`install` returned, or None if it was not called."""
    return install() if EXTENSION in sys.modules else None


def failure() -> str | None:
    """Return why installed compiled ops did not load; None if there are none or they are in use."""
    reason = getattr(sys.modules.get(EXTENSION), "__failure__", None)
    return reason if isinstance(reason, str) else None


def _load() -> ModuleType:
    try:
        return importlib.import_module(EXTENSION)
    except ImportError as error:
        absent = isinstance(error, ModuleNotFoundError) and error.name == EXTENSION
        reason = None if absent else str(error).partition("\n")[0]
    from kdbench.openmmlab.ops.extension import StandIn

    return StandIn(EXTENSION, reason)


def _is_stand_in(module: ModuleType) -> bool:
    extension = sys.modules.get("kdbench.openmmlab.ops.extension")
    return extension is not None and isinstance(module, extension.StandIn)
