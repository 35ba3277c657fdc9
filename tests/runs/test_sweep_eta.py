"""How long a sweep says that it will take."""

from __future__ import annotations

from pathlib import Path

import pytest
from sweep_support import sweep_of

from kdbench.runs import progress as worker_progress
from kdbench.runs.claims_owner import Owner
from kdbench.runs.progress import PackProgress, WorkerConsole
from kdbench.runs.provenance import record_of


@pytest.fixture
def sweep(tmp_path, small_digits):
    """Two packs of three cells of four iterations, for two slots; no record tells how long they take."""
    return sweep_of(tmp_path, small_digits)


def known(sweep, seconds=10.0):
    sweep.rates.of_pair["digits-faster-rcnn", "smoke"].append(seconds)


def start(sweep, told):
    state = sweep.pending.pop(0)
    sweep.running[state.name] = state
    state.folder.mkdir(parents=True)
    progress = PackProgress(pack="x", title="x", cells={}, owner=Owner.here(), seconds_left=told)
    WorkerConsole(state.folder, progress)
    assert worker_progress.read_progress(state.folder) == progress


def test_nothing_is_known_without_records(sweep):
    assert sweep.snapshot().seconds_left is None


def test_cells_over_slots(sweep):
    known(sweep)
    assert sweep.snapshot().seconds_left == pytest.approx(6 * 40 / 2, abs=1)


def test_less_what_has_been_done(sweep):
    known(sweep)
    sweep.start -= 60
    assert sweep.snapshot().seconds_left == pytest.approx(6 * 40 / 2 - 60, abs=1)


def test_finished_cells_count_for_the_rest(sweep):
    sweep.start -= 300
    sweep.done_before -= 2
    sweep.pending[0].keep(sweep.pending[0].pack.items[:1])
    assert sweep.snapshot().seconds_left == pytest.approx(300 / 2 * 4, abs=1)


def test_it_is_no_shorter_than_what_a_worker_still_needs(sweep):
    known(sweep)
    start(sweep, told=5)
    start(sweep, told=985)
    assert sweep.snapshot().seconds_left == pytest.approx(985, abs=1)


@pytest.mark.parametrize(
    ("seconds", "median"), [([3.0, 1.0, 2.0], 2.0), ([9.0, 1.0, 2.0, 4.0], 3.0), ([5.0], 5.0)]
)
def test_the_median_of_what_was_recorded_counts(sweep, seconds, median):
    item = sweep.pending[0].pack.items[0]
    cell = item.plan.cell
    for number, each in enumerate(seconds):
        spec = cell.model_copy(update={"seed": 10 + number})
        curve, cost = [{"iteration": 1, "AP50": 0.5}], {"seconds_per_iteration": each}
        sweep.rates.learn([record_of(spec, "AP50", Path("x"), curve=curve, cost=cost)])
    assert sweep.rates.seconds(item) == median * cell.pair.schedule.iterations
