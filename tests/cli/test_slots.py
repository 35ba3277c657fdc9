"""`kdbench sweep --slots` on a machine that says it has GPUs."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from kdbench import devices
from kdbench.executors import local

FakeNvml = runpy.run_path(str(Path(__file__).parents[1] / "executors" / "fake_nvml.py"))["FakeNvml"]
WORKER = """#!/bin/sh
echo "$CUDA_VISIBLE_DEVICES $OMP_NUM_THREADS" > {folder}/$$
until [ $(ls {folder} | wc -l) -ge {workers} ]; do sleep 0.05; done
echo "error: not here"
exit 2
"""
"""Waits until as many run at once, and says then that its cells cannot be run."""


@pytest.fixture
def place(tmp_path, small_digits, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KDBENCH_DATA", str(small_digits))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(devices, "accelerator", lambda: "cuda")
    monkeypatch.setattr(local, "cores", lambda: 16)
    return tmp_path


@pytest.mark.parametrize(
    ("slots", "visible", "started"),
    [
        (3, "", ["0 5"] * 3),
        (3, "6", ["6 5"] * 3),
        (4, "2,5", ["2 4"] * 2 + ["5 4"] * 2),
    ],
)
def test_workers_share_the_gpus(place, kdbench, monkeypatch, slots, visible, started):
    gpus = max(1, len(visible.split(",")))
    monkeypatch.setattr(devices, "count", lambda: gpus)
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(gpus))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    told = place / "told"
    told.mkdir()
    program = place / "python"
    program.write_text(WORKER.format(folder=told, workers=slots))
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    wish = ("--methods", "none", "--datasets", "digits", "--schedule", "smoke")
    done = kdbench("sweep", *wish, "--seeds", f"0..{slots - 1}", "--slots", str(slots))
    assert f"0 of {slots} cells done, {slots} failed" in done.err
    assert sorted(file.read_text().strip() for file in told.iterdir()) == started
