"""Executors: where the workers of a sweep run. A plugin gives them as it gives methods."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from kdbench.cards import ExecutorCard, load_object
from kdbench.errors import UserError
from kdbench.hookspecs import hookimpl
from kdbench.registry import registry


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


class Executor(ABC):
    """Runs workers, each a command that reads and writes files only.

    Args:
        slots: How many workers may run at once; None: what fits.
        device: ``cpu`` or ``cuda``; None: cuda where there is one.

    Raises:
        UserError: If that cannot be had.
    """

    slots: int
    """How many workers may run at once."""
    resources: Resources
    """What a worker gets."""

    def __init__(self, slots: int | None, device: str | None) -> None:
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


def executor_of(name: str, slots: int | None, device: str | None) -> Executor:
    """The executor of that name. Raises UserError where it is unknown or lacks something."""
    card = registry().executor(name).value
    lacking = [module for module in card.requires if find_spec(module) is None]
    if lacking:
        raise UserError(f"--executor {name} needs {' and '.join(lacking)}: run `{card.install}`.")
    made: Executor = load_object(card.target)(slots, device)
    return made


@hookimpl
def kdbench_executors() -> Iterable[ExecutorCard]:
    """The executor that needs nothing."""
    yield ExecutorCard(
        name="local",
        title="Processes on this machine: one for each GPU, or for each core.",
        target="kdbench.execution.local:Local",
    )
