"""The device of these tests: a GPU, or the one that KDBENCH_TEST_DEVICE names (cpu, pretend) to try them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def device() -> str:
    """Type of the device; without a GPU the tests are skipped."""
    from kdbench import devices

    wanted = os.environ.get("KDBENCH_TEST_DEVICE", "cuda")
    if wanted == "pretend":
        from kdbench.conformance import pretend

        pretend.install()
    if wanted not in devices.here():
        pytest.skip(f"torch finds no {wanted} here")
    return wanted


@pytest.fixture(scope="session")
def bench(device: str):
    from kdbench.conformance.bench import Bench

    return Bench(device=device)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_digits: Path) -> Path:
    """An empty folder, which is the current one, and the small scenes as data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KDBENCH_DATA", str(small_digits))
    return tmp_path
