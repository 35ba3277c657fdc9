"""Runs Python in separate processes, since the simulated device is the accelerator of its whole process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from kdbench.conformance.children import environment, last_line

SECONDS = 1500
"""Time limit of one process."""


def start(arguments: list[str], log: Path, **variables: str) -> subprocess.Popen[bytes]:
    """Start a Python process."""
    with log.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, *arguments], env=environment() | variables, stdout=file, stderr=file
        )


def finish(process: subprocess.Popen[bytes], log: Path) -> str:
    """Wait for a process, which must succeed, and return its output."""
    try:
        code = process.wait(SECONDS)
    finally:
        process.kill()
        process.wait()
    assert code == 0, f"{last_line(log)}\n{log.read_text()[-4000:]}"
    return log.read_text()


Findings = dict[tuple[str, str], str]


def look_at(methods: list[str], briefly: list[str], scenes: Path, folder: Path) -> Callable[[], Findings]:
    """Start a process that runs methods on the device, and others for single steps only.

    Call the result to wait for the findings.
    """
    name = methods[0].partition("[")[0]
    told, log = folder / f"{name}.json", folder / f"{name}.log"
    module = ["-m", "kdbench.conformance.on_device", str(scenes), str(told)]
    process = start([*module, *methods, "--briefly", *briefly], log)

    def findings() -> Findings:
        finish(process, log)
        return {(found["method"], found["family"]): found["what"] for found in json.loads(told.read_text())}

    return findings
