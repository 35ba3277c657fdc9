"""benchmarks/gpu/watch.py, with fake sensors."""

from __future__ import annotations

import sys
import time
from types import ModuleType, SimpleNamespace

import pytest
import watch

GIB = 2**30


@pytest.fixture
def sensors(monkeypatch) -> list[list[str]]:
    """Install a fake GPU that is 40, then 60 % busy; return the names of the requested GPUs."""
    asked: list[list[str]] = []
    samples = [SimpleNamespace(busy=busy, used=used * GIB) for busy, used in ((40, 3), (60, 2))]

    class Sensors:
        def __init__(self, names):
            asked.append(names)
            self.left = list(samples)

        def sample(self):
            return [self.left.pop(0)] if self.left else []

    module = ModuleType("kdbench.executors.nvml")
    module.Sensors, module.Unavailable = Sensors, RuntimeError
    monkeypatch.setitem(sys.modules, "kdbench.executors.nvml", module)
    monkeypatch.setattr(watch, "EVERY", 0.001)
    return asked


def test_a_gpu_is_sampled(sensors, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    with watch.Watch("cuda") as seen:
        ends = time.monotonic() + 60
        while len(seen.samples) < 2 and time.monotonic() < ends:
            time.sleep(0.001)
    assert sensors == [["3"]]
    assert str(seen) == "50 %, 3.0 GiB"


def test_a_cpu_is_not(sensors):
    with watch.Watch("cpu") as seen:
        pass
    assert sensors == []
    assert str(seen) == ""
