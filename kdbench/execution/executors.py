"""Executors: where the workers of a sweep run. A plugin gives them as it gives methods."""

from __future__ import annotations

import signal
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import Field

from kdbench.cards import ExecutorCard, Options
from kdbench.errors import UserError
from kdbench.hookspecs import hookimpl
from kdbench.isolation import guarded, offered
from kdbench.registry import registry
from kdbench.selectors import parse, resolve


@dataclass(frozen=True)
class Resources:
    """What one worker gets.

    Attributes:
        gpus: GPUs, 0 or 1.
        cores: CPU cores, at least 1: the worker computes with that many threads.
    """

    gpus: int
    cores: int


@dataclass(frozen=True)
class Ended:
    """A worker that has ended.

    Attributes:
        handle: As :meth:`Executor.submit` gave it.
        code: Its exit code; None where it has none, since it was killed or its machine was lost.
        how: How it ended, for people: ``exit code 1``, ``killed by SIGKILL``.
    """

    handle: str
    code: int | None
    how: str

    @classmethod
    def process(cls, handle: str, code: int) -> Ended:
        """A process that has ended, with the code that :class:`subprocess.Popen` gives: ``-n`` after signal n."""
        if code >= 0:
            return cls(handle, code, f"exit code {code}")
        return cls(handle, None, f"killed by {signal.Signals(-code).name}")


class Executor(ABC):
    """Runs workers, each a command that reads and writes files only.

    Args:
        slots: How many workers may run at once; None: what fits.
        device: Type of the device; None: the accelerator where there is one.
        options: Those of its card.

    Raises:
        UserError: If that cannot be had.
    """

    slots: int
    """How many workers may run at once."""
    resources: Resources
    """What a worker gets."""

    def __init__(self, slots: int | None, device: str | None, **options: Any) -> None:
        raise NotImplementedError

    @abstractmethod
    def submit(self, command: Sequence[str], resources: Resources, log: Path) -> str:
        """Start a worker, at once or as soon as there is room, and return its handle.

        Args:
            command: Program and arguments; paths in it are relative to this process's directory.
            resources: What it gets.
            log: File that its output is appended to.
        """

    @abstractmethod
    def wait(self, timeout: float) -> list[Ended]:
        """The workers that have ended since the last call: at once if there are any, else after ``timeout`` s."""

    @abstractmethod
    def cancel(self, handle: str, *, now: bool) -> None:
        """Ask a worker to write a checkpoint and end, or end it ``now``; :meth:`wait` tells when it has ended."""

    @abstractmethod
    def close(self) -> None:
        """Give back what the executor holds; workers that still run are asked to end."""


class RayOptions(Options):
    """Options of the executor ``ray``."""

    address: str | None = Field(None, description="Of the cluster; default: RAY_ADDRESS, else a local one.")
    cores: int | None = Field(
        None, ge=1, description="CPU cores a worker; default: 1, with a GPU an equal share of its node's."
    )


class SlurmOptions(Options):
    """Options of the executor ``slurm``."""

    partition: str | None = Field(None, description="Partition; default: Slurm's.")
    time: int = Field(60, ge=5, description="Limit of a job, minutes: what is not done then is queued again.")
    cores: int | None = Field(None, ge=1, description="CPU cores a worker; default: 1, with a GPU 4.")
    memory: int | None = Field(None, ge=1, description="Memory of a job, GB; default: Slurm's.")
    account: str | None = Field(None, description="Account that is charged; default: Slurm's.")
    qos: str | None = Field(None, description="Quality of service; default: Slurm's.")
    folder: Path = Field(
        Path("out/slurm"), description="Scripts and logs of the jobs, on a shared file system."
    )


def executor_of(selector: str, slots: int | None, device: str | None) -> Executor:
    """The executor of a selector such as ``local`` or ``slurm[partition=gpu,time=120]``.

    Args:
        selector: Its name and options.
        slots: How many workers may run at once; None: as it chooses.
        device: Type of the device; None: as it chooses.

    Raises:
        UserError: Where it is unknown, its options are not those of its card, it lacks something, or it fails.
    """
    from kdbench.execution.executor_guard import made

    name, raw = parse(selector)
    card = registry().executor(name).value
    with guarded(offered("executor", name), "its options"):
        options = resolve(card, raw)
    if lacking := lacking_of(card):
        how = f"run `{card.install}`" if card.install else "install it"
        raise UserError(f"--executor {name} needs {' and '.join(lacking)}: {how}.")
    return made(card, slots, device, options)


def lacking_of(card: ExecutorCard) -> list[str]:
    """The modules that an executor needs and that are not installed."""
    return [module for module in card.requires if not _is_installed(module)]


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the package that it is in
        return False


@hookimpl
def kdbench_executors() -> Iterable[ExecutorCard]:
    """This machine, a Ray cluster, a Slurm cluster."""
    yield ExecutorCard(
        name="local",
        title="Processes on this machine: one for each GPU, or for each core.",
        target="kdbench.execution.local:Local",
    )
    yield ExecutorCard(
        name="ray",
        title="Actors on a Ray cluster: one for each GPU, or for each core.",
        target="kdbench.execution.ray_executor:Ray",
        requires=("ray",),
        install='pip install "kdbench[ray]"',
        options=RayOptions,
    )
    yield ExecutorCard(
        name="slurm",
        title="Jobs of a Slurm cluster, submitted with submitit.",
        target="kdbench.execution.slurm_executor:Slurm",
        requires=("submitit",),
        install='pip install "kdbench[slurm]"',
        options=SlurmOptions,
    )
