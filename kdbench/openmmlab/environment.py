"""Finds out for ``kdbench doctor`` what is installed, what is wrong and how to repair it."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kdbench import devices
from kdbench.dataset_cards import Dataset
from kdbench.datasets.layout import missing
from kdbench.datasets.locate import ENVIRONMENT as DATA_ROOT
from kdbench.datasets.locate import data_root, folder_of, has_files
from kdbench.offers import ENVIRONMENT
from kdbench.openmmlab import ops
from kdbench.openmmlab.setup import (
    LIBRARIES,
    Problem,
    distributions,
    library_problem,
    replace_all,
    torchvision_problem,
    version,
)
from kdbench.plugins import Registry, registry

LEAST_FREE = 500_000_000
"""Disk space of the smallest run (embedded data, two checkpoints) with a margin, in bytes."""


@dataclass(frozen=True)
class Library:
    """An OpenMMLab package: import name, version (None if not installed) and the distributions that contain it."""

    name: str
    version: str | None
    distributions: list[str]


@dataclass(frozen=True)
class DataRoot:
    """The data root; ``datasets`` is name -> ready, incomplete or absent."""

    path: str
    datasets: dict[str, str]


@dataclass(frozen=True)
class Disk:
    """Free space, in bytes, in a folder that is written to."""

    purpose: str
    path: str
    free: int


@dataclass
class Environment:
    """The installation on this machine; ``problems`` keep a run from working, ``warnings`` do not.

    Attributes:
        python: Version.
        platform: Operating system and architecture.
        torch: Version; None if it does not import.
        accelerator: Type of the accelerator that torch can use, such as ``cuda``; None without one.
        devices: Names of the accelerators.
        torchvision: Version; None if it is not installed.
        torchvision_loads: Whether its ops run.
        libraries: mmcv, mmengine, mmdet and mmseg.
        ops: Whose ops ``mmcv.ops`` uses: ``mmcv`` or ``torchvision``; None if neither loads.
        plugins: Entry points of the group ``kdbench``, broken ones with their ``error``.
        data: Data root.
        disks: Free space for results and data.
        problems: Faults that keep a run from working.
        warnings: Other faults.
        cuda_mps: Whether CUDA MPS runs, so that processes share a GPU at the same time; None without an NVIDIA GPU.
    """

    python: str
    platform: str
    torch: str | None
    accelerator: str | None
    devices: list[str]
    torchvision: str | None
    torchvision_loads: bool
    libraries: list[Library]
    ops: str | None
    plugins: list[dict[str, Any]]
    data: DataRoot
    disks: list[Disk]
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    cuda_mps: bool | None = None

    @property
    def works(self) -> bool:
        """Whether a run would work."""
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        """Return all fields and ``works``, ready for JSON."""
        return {"works": self.works, **asdict(self)}


def inspect() -> Environment:
    """Inspect the installation of this process; importing torch, mmdet and mmseg takes several seconds."""
    installed = distributions()
    pair = torchvision_problem()
    problems = [pair] if pair else library_problems(installed)
    found = registry()
    data = data_state(found)
    disks = [disk("results", Path.cwd()), disk("data", Path(data.path))]
    torch, accelerator, names = _torch()
    warnings = list(found.errors())
    if (failure := ops.failure()) is not None:
        warnings.append(f"mmcv's compiled ops do not load, torchvision's stand in: {failure}")
    if accelerator is not None and (untried := devices.untried(accelerator)) is not None:
        warnings.append(untried)
    return Environment(
        python=platform.python_version(),
        platform=platform.platform(terse=True) + f" {platform.machine()}",
        torch=torch,
        accelerator=accelerator,
        devices=names,
        torchvision=version("torchvision"),
        torchvision_loads=pair is None,
        libraries=[
            Library(name, version(brought_by[0]) if brought_by else None, brought_by)
            for name, brought_by in installed.items()
        ],
        ops=ops.in_use(),
        plugins=[asdict(plugin) for plugin in found.plugins],
        data=data,
        disks=disks,
        problems=problems + registry_problems(found) + disk_problems(disks),
        warnings=warnings,
        cuda_mps=cuda_mps_runs() if accelerator == "cuda" else None,
    )


def library_problems(installed: dict[str, list[str]]) -> list[Problem]:
    """Return what is wrong with OpenMMLab; mixed distributions are not imported, since their files overlap."""
    mixed = mixture_problem(installed)
    if mixed is not None:
        return [mixed]
    found = [library_problem(library) for library in LIBRARIES.values()]
    return list(dict.fromkeys(problem for problem in found if problem is not None))


def mixture_problem(installed: dict[str, list[str]]) -> Problem | None:
    """Return the problem of upstream and OneDL in one environment, or of two distributions of one package."""
    names = sorted({name for names in installed.values() for name in names})
    onedl = [name for name in names if name.startswith("onedl-")]
    doubled = any(len(names) > 1 for names in installed.values())
    if not doubled and len(onedl) in (0, len(names)):
        return None
    what = f"OpenMMLab distributions that do not belong together are installed: {', '.join(names)}"
    return Problem(what, replace_all(installed))


def registry_problems(found: Registry) -> list[Problem]:
    """Return the problem of plugins that offer no methods, datasets or pairs."""
    kinds = {"methods": found.methods, "datasets": found.datasets, "pairs": found.pairs}
    empty = [kind for kind, offers in kinds.items() if not offers]
    if not empty:
        return []
    restricted = ENVIRONMENT in os.environ
    fix = f"unset {ENVIRONMENT}" if restricted else "pip install -e .  # in the checkout of kdbench"
    return [Problem(f"no plugin gives any {' or '.join(empty)}", fix)]


def data_state(found: Registry) -> DataRoot:
    """Return the data root and the state of each known dataset."""
    offers = found.datasets.items()
    return DataRoot(str(data_root()), {name: _state(offer.value) for name, offer in offers})


def disk(purpose: str, path: Path) -> Disk:
    """Return the free space of the disk of a folder that may not exist yet."""
    existing = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.is_dir())
    return Disk(purpose, str(path), shutil.disk_usage(existing).free)


def disk_problems(disks: list[Disk]) -> list[Problem]:
    """Return the problem of each disk that is too full for the smallest run."""
    fixes = {"results": "kdbench run ... --work-dir DIR", "data": f"export {DATA_ROOT}=DIR"}
    return [
        Problem(
            f"{disk.free / 1e6:.0f} MB free for {disk.purpose} in {disk.path}, "
            f"a run needs {LEAST_FREE / 1e6:.0f} MB",
            f"{fixes[disk.purpose]}  # DIR on a disk with space",
        )
        for disk in disks
        if disk.free < LEAST_FREE
    ]


def cuda_mps_runs() -> bool:
    """Return whether the control daemon of CUDA MPS runs, which listens in its pipe directory."""
    folder = os.environ.get("CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps")
    return (Path(folder) / "control").exists()


def _torch() -> tuple[str | None, str | None, list[str]]:
    """Return torch's version, the type of its accelerator and the names of the accelerators."""
    try:
        import torch
    except (ImportError, OSError):
        return None, None, []
    found = devices.accelerator()
    names = [] if found is None else [devices.name(found, index) for index in range(devices.count())]
    return torch.__version__, found, names


def _state(dataset: Dataset) -> str:
    folder = folder_of(dataset)
    if not has_files(folder):
        return "absent"
    return "incomplete" if missing(dataset, folder) else "ready"
