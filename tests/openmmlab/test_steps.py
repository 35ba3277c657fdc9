"""What a step costs a GPU: operators and host waits are held as bounds, without slack, since they have no noise."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BOUNDS = {
    ("digits-faster-rcnn", "none"): (1240, 19),
    ("digits-faster-rcnn", "fitnets"): (1390, 19),
    ("digits-gfl", "none"): (1260, 12),
    ("digits-gfl", "fitnets"): (1380, 12),
    ("digits-seg-pspnet", "none"): (380, 3),
    ("digits-seg-pspnet", "fitnets"): (490, 3),
}


@pytest.fixture(scope="module")
def table() -> dict[tuple[str, str], tuple[int, int]]:
    """(pair, method) -> operators and waits; the device is the accelerator of its own process."""
    pairs, methods = ({key[part] for key in BOUNDS} for part in (0, 1))
    script = ROOT / "benchmarks" / "speed" / "steps.py"
    command = [sys.executable, script, "--pair", *sorted(pairs), "--method", *sorted(methods)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line.strip("| ").replace(",", "").split(" | ") for line in done.stdout.splitlines()[2:]]
    return {(pair, method): (int(ops), int(waits)) for pair, method, ops, waits in rows}


@pytest.mark.parametrize("key", BOUNDS, ids="-".join)
def test_a_step_costs_no_more_than_it_did(table, key):
    operators, waits = table[key]
    assert 0 < operators <= BOUNDS[key][0]
    assert 0 < waits <= BOUNDS[key][1]


def test_losses_and_gradients_are_those_of_a_cpu(tmp_path):
    script = Path(__file__).with_name("pretended_losses.py")
    done = subprocess.run(
        [sys.executable, script, tmp_path / "scenes"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["faster", "retinanet", "gfl", "pspnet"]
