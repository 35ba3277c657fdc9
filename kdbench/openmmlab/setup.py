"""Loads torchvision, mmcv's ops and OpenMMLab's modules, and says what keeps them from loading."""

from __future__ import annotations

import importlib
import io
import shlex
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib import metadata

from kdbench import devices
from kdbench.errors import UserError
from kdbench.openmmlab import ops

LIBRARIES = {"detection": "mmdet", "segmentation": "mmseg"}
"""Task -> library of its models."""
ONEDL = {
    "mmcv": "onedl-mmcv",
    "mmengine": "onedl-mmengine",
    "mmdet": "onedl-mmdetection",
    "mmseg": "onedl-mmsegmentation",
}
"""Import name -> distribution that kdbench depends on."""


@dataclass(frozen=True)
class Problem:
    """A fault of the installation that keeps a run from working.

    Attributes:
        what: What is wrong, in one line.
        fix: The command that repairs it.
    """

    what: str
    fix: str


def prepare_libraries(library: str) -> None:
    """Make an OpenMMLab library ready for use, before anything of it is imported.

    This installs mmcv's ops, registers the library's modules without setting a default scope, and hides messages
    for developers. Both libraries may be prepared in one process if each model is built under its own scope.

    Args:
        library: ``mmdet`` or ``mmseg``.

    Raises:
        UserError: If a package is missing or does not fit, with the command that repairs it.
    """
    if library not in LIBRARIES.values():
        raise UserError(f"unknown library '{library}': use one of {', '.join(LIBRARIES.values())}.")
    problem = torchvision_problem() or library_problem(library)
    if problem is not None:
        raise UserError(f"{problem.what}. To fix it: {problem.fix}")
    from kdbench.openmmlab.process import hush

    hush()


def torchvision_problem() -> Problem | None:
    """Return what is wrong with torch and torchvision, which must import and run their ops on each device."""
    try:
        import torch
    except (ImportError, OSError) as error:
        return Problem(f"torch does not import: {one_line(error)}", "pip install torch torchvision")
    try:
        with quiet():
            importlib.import_module("torchvision")
            for device in devices.here():
                box = torch.tensor([[0.0, 0.0, 1.0, 1.0]], device=device)
                torch.ops.torchvision.nms(box, box[:, 2], 0.5)
    except ModuleNotFoundError as error:
        if error.name != "torchvision":
            return Problem(f"torchvision does not import: {one_line(error)}", _matching_pair())
        return Problem("torchvision is not installed", _matching_pair())
    except Exception as error:
        pair = f"torch {torch.__version__} and torchvision {version('torchvision')} do not fit together"
        return Problem(f"{pair}: {one_line(error)}", _matching_pair())
    return None


def library_problem(library: str) -> Problem | None:
    """Load mmcv's ops and a library's modules; return what keeps them from loading. torchvision must load."""
    try:
        with quiet():
            used = ops.install()
            importlib.import_module("mmcv.ops")
            utils = importlib.import_module(f"{library}.utils")
            utils.register_all_modules(init_default_scope=False)
    except Exception as error:
        return _import_problem(library, error)
    return _cuda_problem() if used == "mmcv" else None


def distributions() -> dict[str, list[str]]:
    """Return the installed distributions that contain each OpenMMLab package, by import name."""
    found = metadata.packages_distributions()
    return {name: sorted(set(found.get(name, []))) for name in ONEDL}


def replace_all(installed: dict[str, list[str]]) -> str:
    """Return the command that replaces all OpenMMLab distributions by those that kdbench depends on."""
    names = sorted({name for names in installed.values() for name in names})
    wanted = " ".join(requirement(name) for name in ONEDL.values())
    return f"pip uninstall -y {' '.join(names)} && pip install {wanted}"


def requirement(distribution: str) -> str:
    """Return kdbench's requirement of a distribution, quoted for a shell."""
    for line in metadata.requires("kdbench") or []:
        if line.startswith(distribution) and line[len(distribution)] in "<>=!~ ":
            return shlex.quote(line)
    return distribution


def version(distribution: str) -> str | None:
    """Return the version of a distribution, or None if it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def one_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type if there is none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress warnings and output while the libraries import."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def _matching_pair() -> str:
    """Return the command that installs the torchvision of the installed torch, from the index of its variant."""
    import torch

    release, _, local = torch.__version__.partition("+")
    cuda = torch.version.cuda
    variant = local or ("cpu" if cuda is None else f"cu{cuda.replace('.', '')}")
    return (
        f"pip install --force-reinstall torch=={release} torchvision "
        f"--index-url https://download.pytorch.org/whl/{variant}"
    )


def _import_problem(library: str, error: Exception) -> Problem:
    installed = distributions()
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    absent = missing in ONEDL
    what = f"{missing} is not installed" if absent else f"{library} does not import: {one_line(error)}"
    upstream = [name for names in installed.values() for name in names if not name.startswith("onedl-")]
    if upstream:
        return Problem(what, replace_all(installed))
    if "libGL" in str(error):
        headless = "pip install --force-reinstall --no-deps opencv-python-headless"
        return Problem(what, f"pip uninstall -y opencv-python && {headless}")
    wanted = requirement(ONEDL[missing if missing in ONEDL else library])
    return Problem(what, f"pip install {'' if missing else '--force-reinstall --no-deps '}{wanted}")


def _cuda_problem() -> Problem | None:
    """Return the problem of ops compiled without CUDA on a GPU: they fail, where torchvision's would work."""
    import torch
    from mmcv.ops import get_compiling_cuda_version

    if not torch.cuda.is_available() or get_compiling_cuda_version() != "not available":
        return None
    fix = f"pip install --force-reinstall --no-deps --no-cache-dir {requirement('onedl-mmcv')}"
    return Problem("mmcv's compiled ops were built without CUDA, which torch has here", fix)
