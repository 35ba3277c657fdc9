"""The check on a device that is not the CPU."""

from __future__ import annotations

import json
import subprocess
import sys

from kdbench.conformance.broken import PromiseBroken, require
from kdbench.conformance.children import environment, last_line
from kdbench.conformance.exam import Exam

PATIENCE = 900
"""Seconds after which the other process is killed."""


def other(exam: Exam) -> None:
    """Check the method in each family that it supports, in a process whose accelerator is the simulated device."""
    out = exam.bench.new_folder()
    told, log = out / "told.json", out / "log"
    command = [sys.executable, "-m", "kdbench.conformance.on_device", str(exam.bench.folder), str(told)]
    with log.open("wb") as file:
        try:
            done = subprocess.run(
                [*command, exam.target.name],
                env=environment(),
                stdout=file,
                stderr=file,
                timeout=PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise PromiseBroken(f"on another device it was not done after {PATIENCE} s") from None
    require(done.returncode == 0, f"the process on another device failed: {last_line(log)}")
    for (name, family), what in _findings(told.read_text(encoding="utf-8")):
        require(not what, f"{name} in {family} models, {what}")


def _findings(text: str) -> list[tuple[tuple[str, str], str]]:
    return [((found["method"], found["family"]), found["what"]) for found in json.loads(text)]
