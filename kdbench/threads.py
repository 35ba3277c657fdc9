"""How many threads compute, and how they wait for each other. Light: it runs before torch is imported."""

from __future__ import annotations

import os

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""Environment variables by which a user chooses how OpenMP's threads wait."""


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def chosen() -> int | None:
    """Return what the user says with OMP_NUM_THREADS: it decides the machine class of a result."""
    said = os.environ.get(THREADS[0], "")
    return int(said) if said.isdecimal() and int(said) > 0 else None


def variables(count: int) -> dict[str, str]:
    """Return the environment variables by which a process computes with so many threads."""
    return dict.fromkeys(THREADS, str(count))


def wait_well() -> None:
    """Let OpenMP's threads sleep while they wait if other processes want the cores, unless the user chose.

    By default they spin, which is fastest on an idle machine. Where there are more busy threads than cores, a
    spinning thread takes the core of the one that it waits for, and a training is many times slower. How threads
    wait changes no result. Call it before torch, and with it OpenMP, is loaded; child processes inherit it.
    """
    if not any(name in os.environ for name in WAITING) and _crowded():
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


def _crowded() -> bool:
    """Whether our threads and what ran on the machine in the last minute are more than the cores."""
    if not hasattr(os, "getloadavg"):
        return False
    here = os.cpu_count() or 1
    return os.getloadavg()[0] + (chosen() or cores()) > here + 0.5
