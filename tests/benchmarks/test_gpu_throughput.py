"""benchmarks/gpu/throughput.py: its plugin, the computed rate, and a measurement on a CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from endless_pairs import ITERATIONS, SUFFIX, kdbench_pairs
from throughput import HERE, plugin, rate

from kdbench.runs.claims_owner import Owner
from kdbench.runs.progress import PackProgress


def worker(name: str, iteration: int, lanes: int) -> PackProgress:
    return PackProgress(
        pack=name,
        title=name,
        cells={str(lane): "" for lane in range(lanes)},
        owner=Owner.here(),
        training="none",
        iteration=iteration,
        iterations=ITERATIONS,
    )


def test_the_rate_is_that_of_all_lanes():
    before = {"a": worker("a", 10, 2), "b": worker("b", 7, 3)}
    after = {"a": worker("a", 20, 2), "b": worker("b", 11, 3), "late": worker("late", 9, 1)}
    assert rate(before, after, 4.0) == (10 * 2 + 4 * 3) / 4


def test_the_plugin_gives_a_pair_that_does_not_end(tmp_path):
    environment = {**os.environ, "PYTHONPATH": plugin(tmp_path)}
    command = [sys.executable, "-m", "kdbench", "list", "pairs", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    names = {row["name"] for row in json.loads(done.stdout)["pairs"]}
    assert {pair.name for pair in kdbench_pairs()} <= names
    assert f"bccd-gfl-r50-r18-scratch{SUFFIX}" in names


@pytest.mark.slow
def test_a_measurement(small_digits):
    speed = HERE.parent / "speed"
    paths = [str(speed), os.environ.get("PYTHONPATH", str(Path(__file__).parents[2]))]
    command = [sys.executable, str(HERE / "throughput.py"), "--pair", "digits-gfl", "--method", "fitnets"]
    command += ["--slots", "1", "2", "--window", "4", "--patience", "200"]
    command += ["--device", "cpu", "--root", str(small_digits)]
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for workers in (1, 2):
        row = next(line for line in done.stdout.splitlines() if line.startswith(f"| {workers} |")).split("|")
        assert float(row[2]) > 0
        assert float(row[3]) > 0
