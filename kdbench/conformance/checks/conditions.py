"""Checks with unusual batches, mixed precision and two processes."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import interpolate

from kdbench.conformance.broken import PromiseBroken, require
from kdbench.conformance.children import environment, last_line
from kdbench.conformance.exam import Exam
from kdbench.conformance.stepping import Raw, stepped

DTYPES = (torch.float16, torch.bfloat16)
SIZES = ((61, 47), (39, 45))
"""Height and width of the two images in a batch of odd sizes; the first is the larger."""


def without_boxes(exam: Exam) -> None:
    """Check a batch of two images without any object."""
    _each(exam, lambda raw: _objects(raw, 0))


def with_one_box(exam: Exam) -> None:
    """Check a batch of two images with one object each."""
    _each(exam, lambda raw: _objects(raw, 1))


def batch_of_one(exam: Exam) -> None:
    """Check a batch of one image."""
    _each(exam, lambda raw: {name: values[:1] for name, values in raw.items()})


def odd_sizes(exam: Exam) -> None:
    """Check a batch of two images that are resized to different odd sizes."""
    height, width = SIZES[0]
    _each(exam, _resized, scale=(width, height))


def _each(exam: Exam, edit: Callable[[Raw], Raw], **changes: Any) -> None:
    for family in exam.families():
        stepped(exam, family, edit, **changes)


def _objects(raw: Raw, count: int) -> Raw:
    """Keep ``count`` objects of each image; in masks the others become background."""
    for sample in raw["data_samples"]:
        if "gt_sem_seg" in sample:
            mask = sample.gt_sem_seg.data
            kept = mask[mask > 0].unique()[:count]
            mask[~(mask.unsqueeze(-1) == kept).any(-1)] = 0
        else:
            sample.gt_instances = sample.gt_instances[:count]
    return raw


def _resized(raw: Raw) -> Raw:
    """Resize each image, with its objects, to one of :data:`SIZES`."""
    for number, (size, sample) in enumerate(zip(SIZES, raw["data_samples"], strict=True)):
        image = raw["inputs"][number]
        raw["inputs"][number] = interpolate(image[None].float(), size, mode="bilinear")[0].to(image.dtype)
        sample.set_metainfo({"img_shape": size, "pad_shape": size})
        if "gt_sem_seg" in sample:
            pixels = sample.gt_sem_seg
            resized = interpolate(pixels.data[None].float(), size)[0].to(pixels.data.dtype)
            sample.gt_sem_seg = type(pixels)(data=resized)
        else:
            sample.gt_instances.bboxes.rescale_((size[1] / image.shape[2], size[0] / image.shape[1]))
    return raw


def mixed(exam: Exam) -> None:
    """Check mixed precision, with both half precisions."""
    for family in exam.families():
        mixed_in(exam, family)


def mixed_in(exam: Exam, family: str) -> None:
    """Check a step in each half precision, on the bench's device."""
    for dtype in DTYPES:
        for terms in stepped(exam, family, precision=partial(torch.autocast, exam.bench.device, dtype)):
            for name, term in terms.items():
                told = f"in {family} models the term '{name}' is {_short(term.dtype)} under {_short(dtype)}"
                require(term.dtype in (torch.float32, torch.float64), f"{told}: compute it in float32")


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


PROCESSES = 2
PATIENCE = 600
"""Seconds after which processes that wait for each other are killed."""
ITERATIONS = 3
BATCH = 4
"""Images per iteration, over all processes."""


def two(exam: Exam) -> None:
    """Check in one family that two processes have the same hashes of student and method after each iteration."""
    family = exam.families()[0]
    first, second = _train(exam, family)
    for iteration, (ours, theirs) in enumerate(zip(first, second, strict=True)):
        for part in ("student", "method"):
            require(
                ours[part] == theirs[part],
                f"two processes hold different weights of the {part} after iteration {iteration + 1} "
                f"in {family} models",
            )
    require(len(first) == ITERATIONS, f"two processes trained {len(first)} of {ITERATIONS} iterations")


def _train(exam: Exam, family: str) -> list[list[dict[str, str]]]:
    """Train in two processes, and return the hashes that each reported after each iteration."""
    out, port = exam.bench.new_folder(), _free_port()
    arguments = [exam.target.name, family, str(exam.bench.folder), str(out)]
    running = [_started(arguments, rank, port, _log(out, rank)) for rank in range(PROCESSES)]
    deadline = time.monotonic() + PATIENCE
    try:
        codes = [process.wait(deadline - time.monotonic()) for process in running]
    except subprocess.TimeoutExpired:
        raise PromiseBroken(
            f"two processes were not done after {PATIENCE} s: does one wait for the other?"
        ) from None
    finally:
        for process in running:
            process.kill()
            process.wait()
    for rank, code in enumerate(codes):
        require(code == 0, f"one of two processes failed: {last_line(_log(out, rank))}")
    return [json.loads((out / f"rank{rank}.json").read_text(encoding="utf-8")) for rank in range(PROCESSES)]


def _started(arguments: list[str], rank: int, port: int, log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "kdbench.conformance.worker", *arguments]
    with log.open("wb") as file:
        return subprocess.Popen(command, env=_environment(rank, port), stdout=file, stderr=file)


def _log(out: Path, rank: int) -> Path:
    return out / f"rank{rank}.log"


def _environment(rank: int, port: int) -> dict[str, str]:
    """Return the environment variables that torchrun would set for a process."""
    return {
        **environment(),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(PROCESSES),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port
