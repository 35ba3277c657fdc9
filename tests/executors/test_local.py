from __future__ import annotations

import pytest

from kdbench.executors import local
from kdbench.executors.base import Resources
from kdbench.runs.cells import loading_processes


@pytest.fixture
def resources(monkeypatch):
    """Return a worker's resources on eight cores, for a number of slots and a value of OMP_NUM_THREADS."""

    def of(slots, said=None):
        monkeypatch.setattr(local, "cores", lambda: 8)
        if said is None:
            monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        else:
            monkeypatch.setenv("OMP_NUM_THREADS", said)
        executor = local.Local(slots, "cpu")
        executor.close()
        return executor.slots, executor.resources

    return of


@pytest.mark.parametrize(("slots", "expected"), [(None, (8, 1)), (1, (1, 8)), (3, (3, 2)), (20, (20, 1))])
def test_the_cores_are_shared_out(resources, slots, expected):
    assert resources(slots) == (expected[0], Resources(gpus=0, cores=expected[1]))


@pytest.mark.parametrize(("said", "cores"), [("1", 1), ("3", 3), ("", 4), ("many", 4), ("0", 4), ("2,1", 4)])
def test_the_user_may_choose_the_threads(resources, said, cores):
    """One thread and two threads give results of different classes of machine."""
    assert resources(2, said)[1].cores == cores


@pytest.mark.parametrize(
    ("wanted", "device", "there", "processes"),
    [
        (None, "cpu", 16, 0),
        (None, "cuda", 4, 3),
        (None, "cuda", 1, 1),
        (None, "cuda", 64, 8),
        (2, "cuda", 64, 2),
    ],
)
def test_images_are_loaded_by_the_cores_that_a_worker_has(monkeypatch, wanted, device, there, processes):
    monkeypatch.setenv("OMP_NUM_THREADS", str(there))
    assert loading_processes(wanted, device) == processes
