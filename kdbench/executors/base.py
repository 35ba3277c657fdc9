"""The base class of executors, and the exit codes of workers."""

from __future__ import annotations

import signal
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Exit codes of a worker.
DONE = 0
"""All cells are done."""
FAILED = 1
"""Some failed, which is recorded."""
REFUSED = 2
"""Some cells cannot be run, by a user's mistake, and have no record."""
HELD = 10
"""Nothing was run: another process runs the cells, or trains what they need."""
INTERRUPTED = 75
"""It was stopped and can be resumed."""


@dataclass(frozen=True)
class Resources:
    """The resources of one worker.

    Attributes:
        gpus: GPUs: 0, 1, or less than 1 where several workers share one.
        cores: CPU cores, at least 1: the worker computes with that many threads.
    """

    gpus: float
    cores: int


@dataclass(frozen=True)
class Ended:
    """A worker that has ended.

    Attributes:
        handle: What ``Executor.submit`` returned.
        code: Its exit code; None if it was killed or its machine was lost.
        how: How it ended, for people: ``exit code 1``, ``killed by SIGKILL``.
    """

    handle: str
    code: int | None
    how: str

    @classmethod
    def process(cls, handle: str, code: int) -> Ended:
        """Return a process that has ended, with the code that ``subprocess.Popen`` gives: ``-n`` after signal n."""
        if code >= 0:
            return cls(handle, code, f"exit code {code}")
        known = -code in set(signal.Signals)  # real-time signals have no names
        return cls(handle, None, f"killed by {signal.Signals(-code).name if known else f'signal {-code}'}")


class Executor(ABC):
    """Runs workers, each a command that reads and writes files only.

    Args:
        slots: How many workers may run at once; None: what fits.
        device: Type of the device; None: the accelerator where there is one.
        options: Options of its card.

    Raises:
        UserError: If the executor cannot be used.
    """

    slots: int
    """How many workers may run at once."""
    resources: Resources
    """Resources of each worker."""

    def __init__(self, slots: int | None, device: str | None, **options: Any) -> None:
        raise NotImplementedError

    @abstractmethod
    def submit(self, command: Sequence[str], resources: Resources, log: Path) -> str:
        """Start a worker, at once or as soon as there is room, and return its handle.

        Args:
            command: Program and arguments; paths in it are relative to this process's directory.
            resources: Its resources.
            log: File that its output is appended to.
        """

    @abstractmethod
    def wait(self, timeout: float) -> list[Ended]:
        """Return the workers that have ended since the last call, at once or after ``timeout`` s."""

    @abstractmethod
    def cancel(self, handle: str, *, now: bool) -> None:
        """Ask a worker to write a checkpoint and end, or end it ``now``; ``wait`` reports when it has ended."""

    @abstractmethod
    def close(self) -> None:
        """Release what the executor holds; workers that still run are asked to end."""
