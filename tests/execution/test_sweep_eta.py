"""How long a sweep says that it will take."""

from __future__ import annotations

import time

import pytest
from sweep_support import sweep_of

from kdbench.execution import worker_progress
from kdbench.execution.claims_owner import Owner
from kdbench.execution.worker_progress import Progress, WorkerConsole


@pytest.fixture
def sweep(tmp_path, small_digits):
    """Two packs of three cells of four iterations, for two slots; no record tells how long they take."""
    return sweep_of(tmp_path, small_digits)


def known(sweep, seconds=10.0):
    sweep.rates.of_pair["digits-faster-rcnn", "smoke"].append(seconds)


def start(sweep, ago, told=None):
    state = sweep.pending.pop(0)
    sweep.running["1"] = state
    state.began = time.monotonic() - ago
    if told is not None:
        state.folder.mkdir(parents=True)
        progress = Progress(pack="x", title="x", cells={}, owner=Owner.here(), seconds_left=told)
        WorkerConsole(state.folder, progress)
        assert worker_progress.read(state.folder) == progress


def test_nothing_is_known_without_records(sweep):
    assert sweep.snapshot().seconds_left is None


def test_cells_over_slots(sweep):
    known(sweep)
    assert sweep.snapshot().seconds_left == pytest.approx(6 * 40 / 2)


def test_less_what_has_been_done(sweep):
    known(sweep)
    start(sweep, ago=60)
    assert sweep.snapshot().seconds_left == pytest.approx((6 * 40 - 60) / 2, abs=1)


def test_a_pack_that_is_slower_than_the_records_slows_the_rest(sweep):
    known(sweep)
    start(sweep, ago=60, told=180)  # 240 s where 120 were expected
    assert sweep.snapshot().seconds_left == pytest.approx((2 * 6 * 40 - 60) / 2, abs=1)


def test_a_pack_beyond_its_estimate_does_not_end_the_sweep(sweep):
    known(sweep)
    start(sweep, ago=600, told=600)
    assert sweep.snapshot().seconds_left == pytest.approx((10 * 6 * 40 - 600) / 2, abs=1)
