"""The GPUs that workers share: which one the next worker gets, and whether one has room for it."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

from kdbench.executors.nvml import Sample, Sensors, Unavailable

log = logging.getLogger(__name__)

MOST = 4
"""Workers on a GPU where kdbench chooses, at most: one full-width training leaves 40 to 75 % of it idle."""
CORES = 2
"""CPU cores for each of these workers, at least: one launches kernels, one loads images."""
BUSY = 80.0
"""Utilisation, percent, from which on a GPU is full."""
WINDOW = 30
"""Samples that a decision is made on."""
SAMPLE_EVERY = 1.0
"""Seconds between two samples, at least."""
GROWTH = 1.05
"""Memory that grows by this factor between samples says that a worker is not in the middle of its training yet."""
SPARE = 1.25
"""Memory that must be free for one worker more, as a multiple of what one has taken so far."""


@dataclass
class Gpu:
    """A GPU and its samples.

    Attributes:
        name: As ``CUDA_VISIBLE_DEVICES`` names it.
        most: Workers on it, at most.
        workers: Workers on it now.
        fit: Workers that it has had at once, so that as many may start; at first one may.
        others: Memory in use without a worker, bytes.
        each: The most memory that a worker has taken so far, bytes.
        seen: Samples since workers, and the memory that they take, are what they are now.
    """

    name: str
    most: int
    workers: int = 0
    fit: int = 1
    others: int = 0
    each: float = 0.0
    seen: list[Sample] = field(default_factory=list)

    def saw(self, sample: Sample) -> None:
        """Add a sample."""
        if self.workers:
            self.each = max(self.each, (sample.used - self.others) / self.workers)
        else:
            self.others = sample.used
        if self.seen and sample.used > GROWTH * self.seen[0].used:
            self.seen = []
        self.seen = [*self.seen[-WINDOW + 1 :], sample]


def has_room(gpu: Gpu) -> bool:
    """Return whether one worker more may start on a GPU.

    The first one may, and one in the place of another that has ended; more of them where the GPU idles while the
    others train, and has the memory.
    """
    if gpu.workers < gpu.fit:
        return True
    if gpu.workers >= gpu.most or len(gpu.seen) < WINDOW:
        return False
    last = gpu.seen[-1]
    return fmean(sample.busy for sample in gpu.seen) < BUSY and last.used + SPARE * gpu.each <= last.total


class Gpus:
    """The GPUs of this machine that a sweep uses.

    Args:
        names: As ``CUDA_VISIBLE_DEVICES`` names them, at least one.
        slots: Workers at once; None: as many as the GPUs turn out to have room for.
        cores: CPU cores for all workers together.
    """

    def __init__(self, names: Sequence[str], slots: int | None, cores: int) -> None:
        self._sensors = _sensors(names) if slots is None else None
        most = max(1, min(MOST, cores // len(names) // CORES)) if self._sensors else 1
        self.slots = slots or most * len(names)
        """Workers at once, at most."""
        self._chosen = slots is not None
        self._gpus = [Gpu(name, most) for name in names]
        self._looked = float("-inf")
        self.look()

    def take(self) -> str | None:
        """Give a GPU to a worker that starts now: the one with the fewest workers, None where none has room yet."""
        free = [gpu for gpu in self._gpus if self._chosen or has_room(gpu)]
        if not free:
            return None
        gpu = min(free, key=lambda gpu: gpu.workers)
        gpu.workers += 1
        gpu.fit = max(gpu.fit, gpu.workers)
        gpu.seen = []
        return gpu.name

    def give_back(self, name: str) -> None:
        """Note that a worker on the GPU of that name has ended."""
        gpu = next(gpu for gpu in self._gpus if gpu.name == name)
        gpu.workers -= 1
        gpu.seen = []

    def forget(self) -> None:
        """Drop all samples, since the workers go on to something else."""
        for gpu in self._gpus:
            gpu.seen = []

    def look(self) -> None:
        """Take a sample of the GPUs, unless that was done a moment ago or nobody needs it."""
        if self._sensors is None or time.monotonic() - self._looked < SAMPLE_EVERY:
            return
        self._looked = time.monotonic()
        try:
            for gpu, sample in zip(self._gpus, self._sensors.sample(), strict=True):
                gpu.saw(sample)
        except Unavailable:  # for the moment: no worker is added
            self.forget()


def _sensors(names: Sequence[str]) -> Sensors | None:
    try:
        return Sensors(names)
    except Unavailable as why:
        log.warning(f"one worker a GPU ({why}): `slots` starts as many as it says")
        return None
