"""The executor ``local``: a process a slot, where a slot is a share of a GPU or some of the cores."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Sequence
from pathlib import Path

from kdbench import devices
from kdbench.executors.base import INTERRUPTED, Ended, Executor, Resources
from kdbench.executors.gpus import Gpus
from kdbench.executors.process import WorkerProcess
from kdbench.threads import chosen, cores, variables


class Local(Executor):
    """Processes on this machine. Ctrl-C reaches them through :meth:`cancel` only.

    Args:
        slots: Processes at once, dealt out over the GPUs where there are any; default: one a core, or as many as
            the GPUs turn out to have room for.
        device: Type of the device; default: the accelerator where there is one.
    """

    def __init__(self, slots: int | None, device: str | None) -> None:
        names = [] if devices.choose(device) == devices.CPU else gpus_here()
        self._gpus = Gpus(names, slots, cores()) if names else None
        self.slots = self._gpus.slots if self._gpus else slots or cores()
        self.resources = Resources(
            gpus=min(1.0, len(names) / self.slots), cores=chosen() or max(1, cores() // self.slots)
        )
        self._made = 0
        self._waiting: dict[str, WorkerProcess] = {}
        """Handle -> process that no GPU has had room for."""
        self._gpu_of: dict[str, str] = {}
        self._processes: dict[str, WorkerProcess] = {}
        self._ended: queue.SimpleQueue[Ended] = queue.SimpleQueue()

    def submit(self, command: Sequence[str], resources: Resources, log: Path) -> str:
        """Start a process, at once or as soon as a GPU has room for it."""
        if self._gpus and not self._waiting:
            self._gpus.forget()
        self._made += 1
        handle = str(self._made)
        self._waiting[handle] = WorkerProcess(command, Path.cwd(), variables(resources.cores), log)
        self._start()
        return handle

    def wait(self, timeout: float) -> list[Ended]:
        """Return the processes that have ended."""
        if self._gpus:
            self._gpus.look()
        self._start()
        found: list[Ended] = []
        with contextlib.suppress(queue.Empty):
            found.append(self._ended.get(timeout=timeout))
            while True:
                found.append(self._ended.get_nowait())
        for ended in found:
            self._processes.pop(ended.handle, None)
            gpu = self._gpu_of.pop(ended.handle, None)
            if self._gpus and gpu is not None:
                self._gpus.give_back(gpu)
        return found

    def cancel(self, handle: str, *, now: bool) -> None:
        """Send SIGTERM, on which a worker writes a checkpoint; or SIGKILL to all that it has started."""
        if self._waiting.pop(handle, None):
            self._ended.put(Ended(handle, INTERRUPTED, "not started"))
        if handle in self._processes:
            self._processes[handle].stop(now=now)

    def close(self) -> None:
        """Ask the processes that still run to end, and start no other."""
        self._waiting.clear()
        for process in list(self._processes.values()):
            process.stop(now=False)

    def _start(self) -> None:
        """Start what waits, as far as there is room."""
        for handle, process in list(self._waiting.items()):
            if self._gpus:
                gpu = self._gpus.take()
                if gpu is None:
                    return
                self._gpu_of[handle] = process.environment["CUDA_VISIBLE_DEVICES"] = gpu
            self._processes[handle] = self._waiting.pop(handle)
            process.start()
            threading.Thread(target=self._await, args=(handle, process), daemon=True).start()

    def _await(self, handle: str, process: WorkerProcess) -> None:
        self._ended.put(Ended.process(handle, process.wait()))


def gpus_here() -> list[str]:
    """Return the GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    count = devices.count()
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return named[:count] or [str(number) for number in range(count)]
