"""Fake of ``pynvml``, whose GPUs report the load of the workers that a test puts on them."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace

GIB = 2**30


class NVMLError(Exception):
    pass


class FakeNvml(ModuleType):
    """GPUs of 80 GiB, of which others use 1 GiB.

    Args:
        gpus: Number of GPUs.
        busy: Utilisation by one worker, in percent.
        memory: Memory of a worker, in bytes.
    """

    def __init__(self, gpus: int = 1, busy: int = 25, memory: int = 10 * GIB) -> None:
        super().__init__("pynvml")
        self.busy, self.memory = busy, memory
        self.workers = [0] * gpus
        self.broken = False
        self.NVMLError = NVMLError

    def nvmlInit(self) -> None:  # noqa: N802
        if not self.workers:
            raise NVMLError("Driver Not Loaded")

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        if index >= len(self.workers):
            raise NVMLError("Invalid Argument")
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> int:  # noqa: N802
        return int(uuid.removeprefix("GPU-"))

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> SimpleNamespace:  # noqa: N802
        if self.broken:
            raise NVMLError("GPU is lost")
        return SimpleNamespace(gpu=min(100, self.busy * self.workers[handle]))

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(used=GIB + self.memory * self.workers[handle], total=80 * GIB)
