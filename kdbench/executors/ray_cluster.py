"""The executor ``ray``: an actor a worker, on a Ray cluster or on a local one.

What the machines must share: the working directory under the same path, with the store and the folder of the runs
in it or beside it (see :mod:`kdbench.runs.claims` for what that file system must guarantee), and kdbench in
a Python environment under the same path. A worker has its node's environment variables, and of the sweep's those
that begin with ``KDBENCH_``.

A worker whose node is lost has ended without a code: the sweep runs its cells again, from their last checkpoints,
when its claims have gone stale. Ray itself restarts nothing.
"""

from __future__ import annotations

import logging
import math
import os
import re
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from kdbench import devices
from kdbench.errors import ArgumentError, UserError, reason
from kdbench.executors.base import Ended, Executor, Resources
from kdbench.executors.process import WorkerProcess
from kdbench.text import LONGEST, line
from kdbench.threads import variables

HOST_AND_PORT = re.compile(r"\[?([\w.:-]+?)\]?:(\d+)")
GRAINS = 10_000
"""Ray rounds shares of a GPU to one of so many parts."""
GRACE = 60.0
"""Seconds that workers have to write their checkpoints when the executor is closed while they run."""


class Ray(Executor):
    """Actors, each with a worker's process on a node; they end with this process.

    Args:
        slots: Workers at once, several of which share a GPU where there are more of them than GPUs; default: one a
            GPU, or as many as fit into the cluster now. What has no room waits until Ray has some.
        device: Type of the device; default: a GPU where the cluster has GPUs.
        address: The cluster's; None: that of RAY_ADDRESS, else of one on this machine, which is started if need be.
        cores: CPU cores a worker; default: 1, with a GPU an equal share of its node's.

    Raises:
        UserError: If there is no such cluster, or no node of it has what a worker needs.
    """

    def __init__(
        self, slots: int | None, device: str | None, address: str | None = None, cores: int | None = None
    ) -> None:
        self._ours = not ray.is_initialized()
        if self._ours:
            _connect(address)
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
        gpu_nodes = [node for node in nodes if node.get("GPU", 0) >= 1]
        if device not in (None, devices.CPU) and not gpu_nodes:
            raise ArgumentError(
                "device", "no node of the Ray cluster has a GPU. Add one, or choose cpu.", device
            )
        self.resources = Resources(gpus=0, cores=cores or 1)
        if gpu_nodes and device != devices.CPU:
            self.resources = _shares(gpu_nodes, slots, cores)
        room = sum(_room(node, self.resources) for node in nodes)
        if not room:
            raise UserError(
                f"no node of the Ray cluster has {self.resources.cores} CPU cores"
                + (" beside a GPU" if self.resources.gpus else "")
                + ": ask for fewer with ray[cores=N]."
            )
        self.slots = slots or room
        self._made = 0
        self._actors: dict[str, Any] = {}
        self._codes: dict[Any, str] = {}
        """Reference to a worker's code -> its handle."""

    def submit(self, command: Sequence[str], resources: Resources, log: Path) -> str:
        """Start an actor as soon as Ray has room for it."""
        given = {name: value for name, value in os.environ.items() if name.startswith("KDBENCH_")}
        made: Any = ray.remote(WorkerProcess).options(
            num_cpus=resources.cores,
            num_gpus=resources.gpus,
            max_concurrency=2,  # it is asked to stop while it runs
            max_restarts=0,
        )
        actor: Any = made.remote(command, Path.cwd(), {**given, **variables(resources.cores)}, log)
        self._made += 1
        handle = str(self._made)
        self._actors[handle] = actor
        self._codes[actor.run.remote()] = handle
        return handle

    def wait(self, timeout: float) -> list[Ended]:
        """Return the workers that have ended, or were lost."""
        if not self._codes:
            time.sleep(timeout)
            return []
        references = list(self._codes)
        first, _ = ray.wait(references, timeout=timeout)
        ready, _ = ray.wait(references, num_returns=len(references), timeout=0) if first else ([], [])
        return [self._ended(reference) for reference in ready]

    def cancel(self, handle: str, *, now: bool) -> None:
        """Have the actor stop its process; one that has no room yet is given up."""
        actor = self._actors.get(handle)
        if actor is None:
            return
        begun, _ = ray.wait([actor.__ray_ready__.remote()], timeout=0.1)
        if begun:
            actor.stop.remote(now=now)
        else:
            ray.kill(actor)

    def close(self) -> None:
        """Wait for workers that were asked to end, and leave the cluster (end it, if this process began it)."""
        for handle in self._codes.values():
            self.cancel(handle, now=False)
        if self._codes:
            ray.wait(list(self._codes), num_returns=len(self._codes), timeout=GRACE)
        for actor in self._actors.values():
            ray.kill(actor)
        if self._ours:
            ray.shutdown()

    def _ended(self, reference: Any) -> Ended:
        handle = self._codes.pop(reference)
        actor = self._actors.pop(handle)
        try:
            ended = Ended.process(handle, ray.get(reference))
        except (RayError, OSError) as error:
            cause = getattr(error, "cause", None)
            return Ended(handle, None, reason(cause) if cause else f"lost ({type(error).__name__} of Ray)")
        ray.kill(actor)
        return ended


def _connect(address: str | None) -> None:
    where = address or os.environ.get("RAY_ADDRESS") or "this machine"
    try:
        if match := HOST_AND_PORT.fullmatch(where):
            address_of_head = (match[1], int(match[2]))
            socket.create_connection(address_of_head, timeout=10).close()  # Ray would try for minutes
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"no Ray cluster at {where}: {line(str(error), LONGEST)}") from error


def _room(node: Mapping[str, float], resources: Resources) -> int:
    """Return how many workers fit on an empty node."""
    rooms = [node.get("CPU", 0) // resources.cores]
    if resources.gpus:
        rooms.append(node.get("GPU", 0) / resources.gpus)
    return int(min(rooms))


def _shares(nodes: Sequence[Mapping[str, float]], slots: int | None, cores: int | None) -> Resources:
    """Return what a worker gets of nodes with GPUs: its share of a GPU, and the same share of the cores beside it.

    Args:
        nodes: The nodes with a GPU.
        slots: Workers at once, dealt out over the GPUs; None: one a GPU.
        cores: CPU cores a worker; None: those of the node that has the fewest a GPU, at least 1.
    """
    workers = max(1, math.ceil((slots or 1) / sum(node["GPU"] for node in nodes)))
    beside = min(node.get("CPU", 0) // (node["GPU"] * workers) for node in nodes)
    gpus = GRAINS // workers / GRAINS
    return Resources(gpus=gpus, cores=cores or max(1, int(beside)))
