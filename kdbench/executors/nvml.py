"""Utilisation and memory of NVIDIA GPUs, as their driver reports them (NVML)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple


class Sample(NamedTuple):
    """A GPU at one moment, with all processes that use it."""

    busy: float
    """Utilisation, percent of the last second in which a kernel ran."""
    used: int
    """Memory in use, bytes."""
    total: int
    """Memory, bytes."""


class Unavailable(Exception):
    """NVML cannot be used; the message says why."""


class Sensors:
    """Samples GPUs.

    Args:
        names: GPUs as ``CUDA_VISIBLE_DEVICES`` names them: numbers or UUIDs.

    Raises:
        Unavailable: If one of them cannot be sampled.
    """

    def __init__(self, names: Sequence[str]) -> None:
        try:
            import pynvml
        except ImportError as error:
            raise Unavailable("nvidia-ml-py is not installed") from error
        self._nvml: Any = pynvml
        try:
            pynvml.nvmlInit()
            self._handles = [self._handle(name) for name in names]
        except pynvml.NVMLError as error:
            raise Unavailable(f"NVML: {error}") from error
        self.sample()

    def sample(self) -> list[Sample]:
        """Return a sample of each GPU. Raises Unavailable."""
        try:
            return [self._sample(handle) for handle in self._handles]
        except self._nvml.NVMLError as error:
            raise Unavailable(f"NVML: {error}") from error

    def _handle(self, name: str) -> Any:
        if name.isdecimal():
            return self._nvml.nvmlDeviceGetHandleByIndex(int(name))
        return self._nvml.nvmlDeviceGetHandleByUUID(name)

    def _sample(self, handle: Any) -> Sample:
        memory = self._nvml.nvmlDeviceGetMemoryInfo(handle)
        busy = self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu
        return Sample(float(busy), int(memory.used), int(memory.total))
