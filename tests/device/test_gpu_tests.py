"""The tests for a GPU also run on the CPU, so that mistakes in the tests themselves are found without a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest
from children import finish, start

GPU = Path(__file__).parents[1] / "gpu"
SOME = "not (a_run or a_step or first_losses or resumed) or structured-segmentation"
"""Selects each test once, with the method that has an adversary."""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_they_pass_on_the_cpu(tmp_path):
    log = tmp_path / "log"
    command = ["-m", "pytest", "-q", "-m", "gpu", "-k", SOME, str(GPU), "-p", "no:cacheprovider"]
    printed = finish(start(command, log, KDBENCH_TEST_DEVICE="cpu"), log)
    assert "10 passed" in printed
    assert "skipped" not in printed


def test_without_a_gpu_they_are_skipped_with_a_reason(tmp_path):
    log = tmp_path / "log"
    command = [
        "-m",
        "pytest",
        "-q",
        "-rs",
        "-m",
        "gpu",
        "-k",
        "devices_say",
        str(GPU),
        "-p",
        "no:cacheprovider",
    ]
    printed = finish(start(command, log, KDBENCH_TEST_DEVICE="mps"), log)
    assert "torch finds no mps here" in printed
