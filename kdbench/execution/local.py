"""The executor ``local``: a process a slot, where a slot is a GPU or some of the cores."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

from kdbench import devices
from kdbench.errors import UserError
from kdbench.execution.executors import Ended, Executor, Resources

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
LEASH = "KDBENCH_LEASH"
"""Environment variable: descriptor of a pipe that closes when the sweep is gone, and the worker stops then."""


class Local(Executor):
    """Processes on this machine.

    Each is in a session of its own, so that Ctrl-C reaches it through :meth:`cancel` alone, once.

    Args:
        slots: Processes at once; default: one a GPU, or one a core.
        device: Type of the device; default: the accelerator where there is one.

    Raises:
        UserError: If there are not that many GPUs.
    """

    def __init__(self, slots: int | None, device: str | None) -> None:
        gpus = [] if devices.choose(device) == devices.CPU else gpus_here()
        if gpus and slots is not None and slots > len(gpus):
            raise UserError(f"--slots {slots}: a slot is a GPU, and there are {len(gpus)}. Ask for fewer.")
        there = cores()
        self.slots = slots or len(gpus) or there
        self.resources = Resources(
            gpus=1 if gpus else 0, cores=chosen_threads() or max(1, there // self.slots)
        )
        self._free_gpus = gpus
        self._gpus: dict[str, str] = {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._ended: queue.SimpleQueue[Ended] = queue.SimpleQueue()
        self._leash, self._grip = os.pipe()

    def submit(self, command: Sequence[str], resources: Resources, log: Path) -> str:
        """Start a process; there must be a free slot."""
        environment = {**os.environ, **threads(resources), LEASH: str(self._leash)}
        gpu = self._free_gpus.pop(0) if resources.gpus else None
        if gpu is not None:
            environment["CUDA_VISIBLE_DEVICES"] = gpu
        with log.open("ab") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
                pass_fds=(self._leash,),
            )
        handle = str(process.pid)
        self._processes[handle] = process
        if gpu is not None:
            self._gpus[handle] = gpu
        threading.Thread(target=self._await, args=(handle, process), daemon=True).start()
        return handle

    def wait(self, timeout: float) -> list[Ended]:
        """The processes that have ended."""
        found: list[Ended] = []
        with contextlib.suppress(queue.Empty):
            found.append(self._ended.get(timeout=timeout))
            while True:
                found.append(self._ended.get_nowait())
        for ended in found:
            self._processes.pop(ended.handle)
            if ended.handle in self._gpus:
                self._free_gpus.append(self._gpus.pop(ended.handle))
        return found

    def cancel(self, handle: str, *, now: bool) -> None:
        """SIGTERM, on which a worker writes a checkpoint; or SIGKILL to all that it has started."""
        process = self._processes.get(handle)
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if now:
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.send_signal(signal.SIGTERM)

    def close(self) -> None:
        """Let go of the leash."""
        os.close(self._grip)
        os.close(self._leash)

    def _await(self, handle: str, process: subprocess.Popen[bytes]) -> None:
        self._ended.put(Ended.process(handle, process.wait()))


def threads(resources: Resources) -> dict[str, str]:
    """Environment variables by which a worker computes with as many threads as it has cores."""
    return dict.fromkeys(THREADS, str(resources.cores))


def chosen_threads() -> int | None:
    """What the user says with OMP_NUM_THREADS: it decides the machine class of the results, so it is kept."""
    said = os.environ.get(THREADS[0], "")
    return int(said) if said.isdecimal() and int(said) > 0 else None


def gpus_here() -> list[str]:
    """The GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    count = devices.count()
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return named[:count] or [str(number) for number in range(count)]


def cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
