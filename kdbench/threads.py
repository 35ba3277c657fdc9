"""Number of computing threads, and how they wait for each other. Runs before torch is imported."""

from __future__ import annotations

import os

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""Environment variables with which a user can choose how OpenMP's threads wait."""


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def chosen() -> int | None:
    """Return the number of threads in OMP_NUM_THREADS, if set; it is part of a result's class of machine."""
    said = os.environ.get(THREADS[0], "")
    return int(said) if said.isdecimal() and int(said) > 0 else None


def variables(count: int) -> dict[str, str]:
    """Return the environment variables that make a process compute with ``count`` threads."""
    return dict.fromkeys(THREADS, str(count))


def wait_well() -> None:
    """Make OpenMP's threads sleep while they wait if other processes need the cores, unless the user chose.

    By default they spin, which is fastest on an idle machine. With more busy threads than cores, a spinning thread
    occupies the core of the thread that it waits for, and training becomes many times slower. The setting changes
    no result. Call this function before torch loads OpenMP; child processes inherit the setting.
    """
    if not any(name in os.environ for name in WAITING) and _crowded():
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


def _crowded() -> bool:
    """Whether this process's threads plus the load of the last minute exceed the number of cores."""
    if not hasattr(os, "getloadavg"):
        return False
    here = os.cpu_count() or 1
    return os.getloadavg()[0] + (chosen() or cores()) > here + 0.5
