"""Utilisation of a GPU while something runs on it."""

from __future__ import annotations

import os
import statistics
import threading
from typing import Any

EVERY = 0.5
"""Seconds between two samples."""


class Watch(threading.Thread):
    """Samples the first visible GPU from entering the context to leaving it.

    Args:
        device: Device of the measurement; a CPU is not watched.

    Attributes:
        samples: Samples of NVML; empty on a CPU or without NVML.
    """

    def __init__(self, device: str) -> None:
        super().__init__(daemon=True)
        self.device, self.samples = device, []
        self._left = threading.Event()

    def run(self) -> None:
        """Sample until the context is left."""
        if self.device == "cpu":
            return
        from kdbench.executors.nvml import Sensors, Unavailable

        try:
            sensors = Sensors([os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]])
            while not self._left.wait(EVERY):
                self.samples += sensors.sample()
        except Unavailable as why:
            print(f"utilisation is not known: {why}", flush=True)

    def __enter__(self) -> Watch:
        self.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._left.set()
        self.join()

    def __str__(self) -> str:
        """Return the mean utilisation and the peak memory."""
        if not self.samples:
            return ""
        busy = statistics.mean(sample.busy for sample in self.samples)
        return f"{busy:.0f} %, {max(sample.used for sample in self.samples) / 2**30:.1f} GiB"
