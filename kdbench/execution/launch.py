"""Devices and processes: which device a run uses, and torchrun for several GPUs."""

from __future__ import annotations

import os
import subprocess
import sys

from kdbench.cards import Dataset
from kdbench.errors import UserError

LIBRARIES = {"detection": "mmdet", "segmentation": "mmseg"}


def is_main_process() -> bool:
    """Whether this is the process that writes and speaks, in a distributed run."""
    return int(os.environ.get("RANK", "0")) == 0


def relaunch(gpus: int) -> bool:
    """Run the same command line under torchrun, a process a GPU; False in such a process.

    Raises:
        UserError: If there are not that many GPUs.
        SystemExit: With torchrun's exit code, where it failed.
    """
    if "LOCAL_RANK" in os.environ:
        return False
    import torch

    if torch.cuda.device_count() < gpus:
        raise UserError(f"--gpus {gpus}: this machine has {torch.cuda.device_count()}.")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={gpus}"]
    done = subprocess.run([*command, "-m", "kdbench", *sys.argv[1:]], check=False)
    if done.returncode:
        raise SystemExit(done.returncode)
    return True


def start(device: str | None, dataset: Dataset) -> str:
    """Make this process ready: the libraries, the device, the process group. Gives the device's type.

    Raises:
        UserError: If the device is not there or the libraries do not load.
    """
    from kdbench.openmmlab.setup import prepare_libraries

    prepare_libraries(LIBRARIES[dataset.task])
    hush()
    import torch

    used = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if used not in ("cpu", "cuda"):
        raise UserError(f"--device {used}: use cpu or cuda (CUDA_VISIBLE_DEVICES chooses among GPUs).")
    if used == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch sees no GPU; `kdbench doctor` says more.")
    if used == "cuda":
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
    if "LOCAL_RANK" in os.environ:
        from mmengine.dist import init_dist

        init_dist("pytorch", backend="nccl" if used == "cuda" else "gloo")
    return used


def hush() -> None:
    """Keep the libraries' advice to their developers off a user's screen."""
    import logging
    import warnings

    from mmengine.logging import MMLogger

    warnings.filterwarnings("ignore", module=r"(mmengine|mmcv|mmdet|mmseg|torch)\b")
    MMLogger.get_instance("mmengine", logger_name="mmengine", log_level="ERROR")
    logging.getLogger("mmengine").setLevel(logging.ERROR)
