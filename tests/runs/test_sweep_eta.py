"""How long a sweep says that it will take."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from sweep_support import sweep_of

from kdbench.runs import progress as worker_progress
from kdbench.runs.claims_owner import Owner
from kdbench.runs.estimate import teachers_of
from kdbench.runs.lines import summary
from kdbench.runs.progress import Progress, WorkerConsole
from kdbench.runs.provenance import record_of
from kdbench.runs.sweep_records import weights_of


@pytest.fixture
def sweep(tmp_path, small_digits):
    """Two packs of three cells of four iterations, for two slots; no record tells how long they take."""
    return sweep_of(tmp_path, small_digits)


def known(sweep, seconds=10.0):
    sweep.rates.of_pair["digits-faster-rcnn", "smoke"].append(seconds)


def start(sweep, ago, told=None):
    state = sweep.pending.pop(0)
    sweep.running[state.name] = state
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


def test_what_is_left_of_a_pack_is_not_shared_among_slots(sweep):
    known(sweep)
    start(sweep, ago=115, told=5)
    start(sweep, ago=35, told=85)
    assert sweep.snapshot().seconds_left == pytest.approx(85, abs=1)


def test_a_pack_beyond_its_estimate_does_not_end_the_sweep(sweep):
    known(sweep)
    start(sweep, ago=600, told=600)
    assert sweep.snapshot().seconds_left == pytest.approx((10 * 6 * 40 - 600) / 2, abs=1)


def teacher_of(sweep):
    return next(i.plan.teacher for state in sweep.pending for i in state.pack.items if i.plan.teacher)


def learn_teacher(sweep, small_digits, seconds=10.0):
    """Another teacher of the same model was trained before, for another number of iterations."""
    teacher = teacher_of(sweep)
    recipe = teacher.recipe.model_copy(update={"iterations": 1000})
    other = teacher.model_copy(update={"seed": 5, "recipe": recipe})
    curve, cost = [{"iteration": 1, "AP50": 0.5}], {"seconds_per_iteration": seconds}
    sweep.rates.learn([record_of(other, "AP50", small_digits, curve=curve, cost=cost)])
    return teacher.recipe.iterations * seconds


def begin(sweep, ago):
    """The first pack's worker has to train the teacher of both."""
    state = sweep.pending.pop(0)
    state.start((0, 0), teachers_of(state.pack.items, sweep.there))
    sweep.running["1"] = state
    state.began -= ago
    return state


def teacher_is_there(sweep, teacher, small_digits):
    weights = weights_of(sweep.settings.work_dir, teacher)
    weights.parent.mkdir(parents=True)
    weights.touch()
    curve = [{"iteration": 1, "AP50": 0.5}]
    sweep.store.write(record_of(teacher, "AP50", small_digits, curve=curve))


def test_a_teacher_that_is_not_there_is_added_once(sweep, small_digits):
    known(sweep)
    teacher = learn_teacher(sweep, small_digits)
    snapshot = sweep.snapshot()
    assert snapshot.seconds_left == pytest.approx(6 * 40 / 2 + teacher)
    assert snapshot.untimed_teachers == 0


def test_a_teacher_of_unknown_time_is_told(sweep):
    known(sweep)
    snapshot = sweep.snapshot()
    assert (snapshot.seconds_left, snapshot.untimed_teachers) == (pytest.approx(6 * 40 / 2), 1)
    assert summary(snapshot).endswith(", ETA 2 min 00 s and teachers of unknown time (1)")


def test_a_teacher_in_training_goes_down_and_then_the_cells(sweep, small_digits):
    known(sweep)
    teacher, left = teacher_of(sweep), learn_teacher(sweep, small_digits)
    state = begin(sweep, ago=left / 4)
    assert sweep.snapshot().seconds_left == pytest.approx(6 * 40 / 2 + 3 * left / 4, abs=1)
    teacher_is_there(sweep, teacher, small_digits)
    assert sweep.snapshot().seconds_left == pytest.approx(6 * 40 / 2, abs=1)
    state.taught -= 60
    assert sweep.snapshot().seconds_left == pytest.approx((6 * 40 - 60) / 2, abs=1)


def test_a_worker_tells_of_a_teacher_what_no_record_does(sweep):
    known(sweep)
    state = begin(sweep, ago=30)
    assert sweep.snapshot().untimed_teachers == 1
    state.folder.mkdir(parents=True)
    WorkerConsole(state.folder, Progress(pack="x", title="x", cells={}, owner=Owner.here(), seconds_left=500))
    snapshot = sweep.snapshot()
    assert (snapshot.seconds_left, snapshot.untimed_teachers) == (pytest.approx(6 * 40 / 2 + 500), 0)


def test_a_teacher_that_is_there_takes_no_time(sweep, small_digits):
    known(sweep)
    teacher = teacher_of(sweep)
    learn_teacher(sweep, small_digits)
    teacher_is_there(sweep, teacher, small_digits)
    assert sweep.snapshot().seconds_left == pytest.approx(6 * 40 / 2)


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
