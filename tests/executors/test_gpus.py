"""The number of workers that share a GPU."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace

import pytest
from fake_nvml import GIB, FakeNvml
from hypothesis import given, settings
from hypothesis import strategies as st

from kdbench import devices
from kdbench.executors import gpus, local
from kdbench.executors.base import Resources
from kdbench.executors.gpus import SPARE, WINDOW, Gpu, Gpus, has_room
from kdbench.executors.nvml import Sample

SAMPLES = st.builds(
    Sample, busy=st.floats(0, 100), used=st.integers(0, 80 * GIB), total=st.integers(0, 80 * GIB)
)
GPUS = st.builds(
    Gpu,
    name=st.just("0"),
    most=st.integers(1, 8),
    workers=st.integers(0, 8),
    fit=st.integers(1, 8),
    each=st.floats(0, 80 * GIB),
    seen=st.lists(SAMPLES, max_size=WINDOW + 2),
)


@settings(deadline=None)
@given(GPUS)
def test_a_worker_more_finds_memory_cores_and_time(gpu):
    if gpu.workers < gpu.fit:
        assert has_room(gpu)
    elif has_room(gpu):
        assert gpu.workers < gpu.most
        assert len(gpu.seen) >= WINDOW
        assert gpu.seen[-1].used + SPARE * gpu.each <= gpu.seen[-1].total
        assert not all(sample.busy >= gpus.BUSY for sample in gpu.seen)


@settings(deadline=None)
@given(GPUS, st.floats(0, 100), st.integers(0, 80 * GIB))
def test_a_fuller_gpu_has_no_more_room(gpu, busy, used):
    fuller = [Sample(min(100.0, sample.busy + busy), sample.used + used, sample.total) for sample in gpu.seen]
    assert has_room(gpu) or not has_room(replace(gpu, seen=fuller))


@pytest.fixture
def nvml(monkeypatch):
    """Install a fake NVML, which is sampled at each request."""

    def make(**more):
        fake = FakeNvml(**more)
        monkeypatch.setitem(sys.modules, "pynvml", fake)
        monkeypatch.setattr(gpus, "SAMPLE_EVERY", 0.0)
        return fake

    return make


def grown(shared: Gpus, fake: FakeNvml, looks: int = 10 * WINDOW) -> list[str]:
    """Start workers for which there is room while time passes; return the GPUs of the workers."""
    started = []
    for _ in range(looks):
        shared.look()
        if (name := shared.take()) is not None:
            started.append(name)
            fake.workers[int(name)] += 1
    return started


@pytest.mark.parametrize(
    ("busy", "memory", "cores", "workers"),
    [
        (25, 10, 16, 4),  # never more than four
        (30, 10, 16, 3),  # three keep it busy
        (95, 10, 16, 1),
        (25, 30, 16, 2),  # a third would need 1.25 x 30 GiB
        (25, 60, 16, 1),
        (25, 10, 7, 3),  # two cores per worker
        (25, 10, 1, 1),
    ],
)
def test_workers_are_added_while_the_gpu_idles(nvml, busy, memory, cores, workers):
    fake = nvml(busy=busy, memory=memory * GIB)
    shared = Gpus(["0"], None, cores)
    assert grown(shared, fake) == ["0"] * workers


def test_the_second_begins_when_the_first_one_has_been_seen_to_train(nvml):
    fake = nvml()
    shared = Gpus(["0"], None, 16)
    assert grown(shared, fake, 1) == ["0"]
    fake.memory = 0  # the worker is importing
    assert grown(shared, fake, WINDOW // 2) == []
    fake.memory = 10 * GIB  # the worker is training
    assert grown(shared, fake, WINDOW - 1) == []
    assert grown(shared, fake, 1) == ["0"]


def test_in_the_place_of_a_worker_that_ends_another_one_begins_at_once(nvml):
    fake = nvml(busy=30)
    shared = Gpus(["0"], None, 16)
    assert len(grown(shared, fake)) == 3
    shared.give_back("0")
    fake.workers[0] -= 1
    assert grown(shared, fake) == ["0"]


def test_the_workers_are_dealt_out_over_the_gpus(nvml):
    fake = nvml(gpus=2, busy=45)
    assert Counter(grown(Gpus(["0", "1"], None, 16), fake)) == {"0": 2, "1": 2}


@pytest.mark.parametrize(("slots", "on"), [(3, {"0": 3}), (5, {"0": 3, "1": 2}), (1, {"1": 1})])
def test_slots_that_are_asked_for_need_no_nvml(slots, on):
    shared = Gpus(list(on), slots, 16)
    assert shared.slots == slots
    assert Counter(shared.take() for _ in range(slots)) == on


def test_the_place_of_a_worker_that_ends_is_taken_again():
    shared = Gpus(["0", "1"], 4, 16)
    names = [shared.take() for _ in range(4)]
    shared.give_back("1")
    assert (names, shared.take()) == (["0", "1", "0", "1"], "1")


def test_without_nvml_there_is_one_worker_a_gpu_and_a_line(monkeypatch, nvml, caplog):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert Gpus(["0", "1"], None, 16).slots == 2
    why = "nvidia-ml-py is not installed"
    assert caplog.messages == [f"one worker a GPU ({why}): `slots` starts as many as it says"]
    nvml(gpus=0)
    assert Gpus(["0"], None, 16).slots == 1
    assert "one worker a GPU (NVML: Driver Not Loaded)" in caplog.messages[-1]


def test_a_gpu_that_does_not_answer_gets_no_further_worker(nvml):
    fake = nvml()
    shared = Gpus(["GPU-0"], None, 16)
    assert shared.take() == "GPU-0"
    fake.workers[0] = 1
    fake.broken = True
    for _ in range(2 * WINDOW):
        shared.look()
    assert shared.take() is None


def test_local_starts_what_waits_when_there_is_room(nvml, monkeypatch, tmp_path):
    fake = nvml()
    monkeypatch.setattr(gpus, "WINDOW", 3)
    monkeypatch.setattr(local, "gpus_here", lambda: ["0"])
    monkeypatch.setattr(devices, "choose", lambda _device: "cuda")
    monkeypatch.setattr(local, "cores", lambda: 16)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    executor = local.Local(None, None)
    assert (executor.slots, executor.resources) == (4, Resources(gpus=0.25, cores=4))
    wait = [sys.executable, "-c", "import time; time.sleep(100)"]
    handles = [executor.submit(wait, executor.resources, tmp_path / "log") for _ in range(3)]
    assert list(executor._processes) == handles[:1]
    fake.workers[0] = 1
    while len(executor._processes) < 2:
        assert executor.wait(0.0) == []
    for handle in handles:
        executor.cancel(handle, now=True)
    ended = []
    while len(ended) < 3:
        ended += executor.wait(1.0)
    assert {worker.handle: worker.how for worker in ended} == {
        handles[0]: "killed by SIGKILL",
        handles[1]: "killed by SIGKILL",
        handles[2]: "not started",
    }
    assert not executor._waiting
    executor.close()
