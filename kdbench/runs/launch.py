"""Devices and processes: which device a run uses, and torchrun for several GPUs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from kdbench import devices
from kdbench.dataset_cards import Dataset
from kdbench.errors import ArgumentError


def is_main_process() -> bool:
    """Return whether this process writes records and messages, in a distributed run."""
    return int(os.environ.get("RANK", "0")) == 0


def processes() -> int:
    """Return how many processes share a batch: those that torchrun started, or this one."""
    return int(os.environ["WORLD_SIZE"]) if "LOCAL_RANK" in os.environ else 1


def relaunch(gpus: int) -> int | None:
    """Run the same command line under torchrun, a process a GPU.

    Args:
        gpus: Number of GPUs, at least 1.

    Returns:
        torchrun's exit code; None where this process is the one to train: there is one GPU to use, or
        torchrun started it.

    Raises:
        ArgumentError: If there are not that many GPUs, or several of a kind that NCCL does not join.
    """
    if "LOCAL_RANK" in os.environ:
        return None
    there = devices.count()
    if there < gpus:
        raise ArgumentError(
            "gpus", f"this machine has {there}. Ask for fewer, or for none in particular.", gpus
        )
    if gpus == 1:
        return None
    if devices.accelerator() != "cuda":
        raise ArgumentError("gpus", "several GPUs need CUDA. Ask for 1, or for none in particular.", gpus)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={gpus}"]
    with _left_to_children():
        return subprocess.run([*command, "-m", "kdbench", *sys.argv[1:]], check=False).returncode


@contextmanager
def _left_to_children() -> Iterator[None]:
    """Leave Ctrl-C to the children, which write a checkpoint first; this process waits for them.

    A handler and not SIG_IGN, which the children would inherit.
    """
    previous = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def start(device: str | None, dataset: Dataset) -> str:
    """Prepare this process, with its libraries, device and process group, and return the device's type.

    Raises:
        UserError: If the device is not there or the libraries do not load.
    """
    used = devices.choose(device)
    from kdbench.openmmlab.setup import LIBRARIES, prepare_libraries

    prepare_libraries(LIBRARIES[dataset.task])
    from kdbench.openmmlab.process import join_processes, keep_freed, make_repeatable, use_device

    if used == devices.CPU:
        keep_freed()
    else:
        make_repeatable()
    use_device(used)
    if "LOCAL_RANK" in os.environ:
        join_processes(used)
    return used
