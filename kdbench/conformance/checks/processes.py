"""Two processes of one training."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

from kdbench.conformance.broken import Broken, require
from kdbench.conformance.children import environment, last_line
from kdbench.conformance.exam import Exam

PROCESSES = 2
PATIENCE = 600
"""Seconds after which processes that wait for each other are given up."""
ITERATIONS = 3
BATCH = 4
"""Images an iteration, of all processes."""


def two(exam: Exam) -> None:
    """In the first family that it claims: the hashes of student and method are those of the other process."""
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
    """What each of the processes told of each iteration."""
    out, port = exam.bench.new_folder(), _free_port()
    arguments = [exam.target.name, family, str(exam.bench.folder), str(out)]
    running = [_started(arguments, rank, port, _log(out, rank)) for rank in range(PROCESSES)]
    deadline = time.monotonic() + PATIENCE
    try:
        codes = [process.wait(deadline - time.monotonic()) for process in running]
    except subprocess.TimeoutExpired:
        raise Broken(
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
    """Return the environment that torchrun gives a process."""
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
