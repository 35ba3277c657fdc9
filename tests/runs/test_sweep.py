"""Sweeps of pretended trainings: what is run, in which order, and what survives."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import sweep_support
from sweep_support import KILLS, TRAININGS, Told, begun, claims_left, planned, results, sweep_of, wait_for

from kdbench.executors.local import Local
from kdbench.results.record import Record
from kdbench.results.store import Store
from kdbench.runs import sweep as sweeps
from kdbench.runs.estimate import Rates, in_order
from kdbench.runs.packs import packs_of
from kdbench.runs.provenance import record_of
from kdbench.runs.status import SweepReport


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, small_digits):
    folder = tmp_path_factory.mktemp("undisturbed")
    view = Told()
    sweep = sweep_of(folder, small_digits, view=view)
    assert sweep.run()
    return folder, sweep, view


def test_every_cell_and_the_teacher_once(undisturbed, small_digits):
    folder, sweep, view = undisturbed
    items = planned(small_digits)
    assert len(items) == 6
    assert {settled.item.identity for settled, _ in view.done} == set(items)
    assert not sweep.failures
    found = results(folder)
    assert set(found) - set(items) == {
        next(i.plan.teacher for i in items.values() if i.plan.teacher).identity()
    }
    assert set(begun(folder).values()) == {1}
    assert not claims_left(folder)
    last = view.shown[-1]
    assert (last.total, last.running) == (6, last.total - last.done)


def test_again_from_the_store_there_is_nothing_to_run(undisturbed, small_digits):
    folder, *_ = undisturbed
    again = sweep_of(folder, small_digits)
    assert not again.pending
    assert again.run()
    assert set(begun(folder).values()) == {1}


def test_packs_that_need_one_teacher_do_not_train_it_twice(tmp_path, small_digits):
    assert sweep_of(tmp_path, small_digits, lanes=1).run()
    assert set(begun(tmp_path).values()) == {1}
    assert len(results(tmp_path)) == 7


def test_a_control_is_no_lane_beside_shorter_trainings(small_digits):
    items = planned(small_digits, ["none[time=1.5]", "quantization-mimic", "hinton", "none[time=2]"], seeds=1)
    packs = packs_of(items.values(), max_lanes=None, share_teacher=True)
    longer = "apart: it trains longer"
    assert [([item.plan.cell.selector for item in pack.items], pack.reason) for pack in packs] == [
        (["none", "hinton"], "one teacher"),
        (["quantization-mimic"], "apart: quantized teacher"),
        (["none[time=1.5]"], longer),
        (["none[time=2]"], longer),
    ]


def test_the_longest_begin_first(small_digits):
    methods = [{"method": "none", "seeds": range(2)}, "quantization-mimic", "hinton"]
    items = planned(small_digits, methods, seeds=1, pairs=("digits-faster-rcnn", "digits-gfl"))
    packs = packs_of(items.values(), max_lanes=None, share_teacher=True)

    def order(rates: Rates) -> list[tuple[str, list[str]]]:
        found = in_order(packs, rates)
        return [(pack.title, [item.plan.cell.method for item in pack.items]) for pack in found]

    def of(pair: str) -> list[tuple[str, list[str]]]:
        first, second = f"{pair}, seed 0", f"{pair}, seed 1"
        return [(first, ["none", "hinton"]), (first, ["quantization-mimic"]), (second, ["none"])]

    rates, faster, gfl = Rates(), of("digits-faster-rcnn"), of("digits-gfl")
    assert order(rates) == [faster[0], gfl[0], *faster[1:], *gfl[1:]]
    rates.of_pair["digits-faster-rcnn", "smoke"].append(1.0)
    rates.of_pair["digits-gfl", "smoke"].append(5.0)
    assert order(rates) == [*gfl, *faster]


def test_two_sweeps_at_once_run_nothing_twice(tmp_path, small_digits, undisturbed):
    command = [sys.executable, sweep_support.__file__, "sweep", "", str(tmp_path), str(small_digits)]
    both = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait(300) for process in both] == [0, 0]
    assert results(tmp_path) == results(undisturbed[0])
    assert set(begun(tmp_path).values()) == {1}
    assert not claims_left(tmp_path)


@pytest.mark.release
def test_workers_killed_at_random_moments(tmp_path, small_digits, undisturbed, monkeypatch):
    """Every other kill is of a worker that trains, the others at any moment: most of it is their start."""
    monkeypatch.setattr(sweeps, "DEATHS", 1000)
    executor, killed, draw = Local(2, "cpu"), tmp_path / "killed", random.Random(1)
    sweep = sweep_of(tmp_path, small_digits, executor, mode="killed")
    killed.mkdir()

    def wait_for_more_than(trainings: int) -> None:
        wait_for(lambda: lines(tmp_path) > trainings)

    def kill() -> None:
        while (number := len(list(killed.iterdir()))) < KILLS:
            if number % 2:
                wait_for_more_than(lines(tmp_path))
            time.sleep(draw.uniform(0, 1.0))
            living = [process for process in list(executor._processes.values()) if process.poll() is None]
            if living:
                victim = draw.choice(living)
                victim.kill()
                if victim.wait() == -signal.SIGKILL:
                    (killed / str(victim.pid)).touch()

    killer = threading.Thread(target=kill)
    killer.start()
    assert sweep.run()
    killer.join()
    assert len(list(killed.iterdir())) == KILLS
    assert not sweep.failures
    assert results(tmp_path) == results(undisturbed[0])
    assert not claims_left(tmp_path)
    resumed = {line.split()[0] for line in (tmp_path / "log").read_text().splitlines() if line[-2:] != " 0"}
    assert len(resumed) > TRAININGS / 2, "all over the sweep"


def lines(folder: Path) -> int:
    """How many trainings were begun or resumed."""
    log = folder / "log"
    return len(log.read_text().splitlines()) if log.exists() else 0


def test_a_pack_whose_workers_always_die_has_failed(tmp_path, small_digits, monkeypatch):
    monkeypatch.setattr("kdbench.runs.provenance.host_class", lambda: "pretended")
    view = Told()
    sweep = sweep_of(tmp_path, small_digits, view=view, mode="die", methods=("hinton",), seeds=1)
    assert sweep.run()
    assert len(begun(tmp_path)) == 1
    assert sum(begun(tmp_path).values()) == 3
    assert len(view.lines) == 2
    assert "killed by SIGKILL; started again" in view.lines[0]
    why = "its worker died 3 times without getting further, at last with killed by SIGKILL"
    assert {settled.why for settled, _ in view.done} == {why}
    assert "about to die" in view.done[0][1]
    assert {record["reason"] for record in results(tmp_path).values()} == {why}
    assert not sweep_of(tmp_path, small_digits, methods=("hinton",), seeds=1).failed_needs


@pytest.mark.parametrize(("mode", "recorded"), [("fail", True), ("refuse", False)])
def test_a_cell_that_fails_or_is_refused_hurts_no_other(tmp_path, small_digits, mode, recorded):
    view = Told()
    sweep = sweep_of(tmp_path, small_digits, view=view, mode=mode, seeds=1)
    assert sweep.run()
    ((settled, _),) = [told for told in view.done if told[0].record is None or not told[0].record.done]
    assert settled.item.plan.cell.method == "hinton"
    assert settled.why == ("a NaN" if recorded else "not with hinton")
    assert isinstance(settled.record, Record) == recorded
    assert len(sweep.records) == 2
    assert set(begun(tmp_path).values()) == {1}
    told = SweepReport.read(tmp_path / "runs")
    assert told.refused == ({} if recorded else {settled.item.identity: settled.why})


def test_asked_to_stop_the_workers_end_and_the_sweep_goes_on_later(tmp_path, small_digits, undisturbed):
    command = [sys.executable, sweep_support.__file__, "sweep", "gate", str(tmp_path), str(small_digits)]
    process = subprocess.Popen(command)
    wait_for(lambda: list(tmp_path.glob("runs/*/last_checkpoint")))
    process.terminate()
    assert process.wait(60) == 1
    assert not list(tmp_path.glob("results/records/*/*/*.json"))
    (tmp_path / "go").touch()
    assert sweep_of(tmp_path, small_digits).run()
    assert results(tmp_path) == results(undisturbed[0])
    assert set(begun(tmp_path).values()) == {1}


def test_asked_twice_it_stops_now(tmp_path, small_digits):
    command = [sys.executable, sweep_support.__file__, "sweep", "gate", str(tmp_path), str(small_digits)]
    process = subprocess.Popen(command)
    wait_for(lambda: list(tmp_path.glob("runs/*/last_checkpoint")))
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 1


def test_the_workers_of_a_killed_sweep_end(tmp_path, small_digits, undisturbed):
    command = [sys.executable, sweep_support.__file__, "sweep", "gate", str(tmp_path), str(small_digits)]
    process = subprocess.Popen(command)
    wait_for(lambda: list(tmp_path.glob("runs/*/last_checkpoint")))
    process.kill()
    process.wait()
    (tmp_path / "go").touch()
    assert sweep_of(tmp_path, small_digits).run()
    assert results(tmp_path) == results(undisturbed[0])


def test_what_is_run_again_is_run_once_and_replaces_its_record(tmp_path, small_digits):
    assert sweep_of(tmp_path, small_digits).run()
    store = Store(tmp_path / "results")
    before = {record.identity: record for record in store.records()[0]}
    cells = {identity for identity, record in before.items() if record.kind == "cell"}
    log = tmp_path / "log"
    log.write_text("")
    assert sweep_of(tmp_path, small_digits, rerun=True).run()
    trained = [line.split()[0] for line in log.read_text().splitlines()]
    assert sorted(trained) == sorted(cells)
    assert {record.identity for record in store.records()[0]} == set(before)


def test_a_cell_that_fails_when_it_is_run_again_has_failed(tmp_path, small_digits):
    assert sweep_of(tmp_path, small_digits).run()
    sweep = sweep_of(tmp_path, small_digits, mode="fail", rerun=True)
    assert sweep.run()
    assert {failure.item.plan.cell.method for failure in sweep.failures} == {"hinton"}
    assert {settled.why for settled in sweep.failures} == {"a NaN"}


def test_a_record_of_a_worker_has_the_command_that_a_person_types(tmp_path, small_digits):
    assert sweep_of(tmp_path, small_digits).run()
    commands = {record.made.command for record in Store(tmp_path / "results").records()[0]}
    assert all(command.startswith("kdbench run --method ") for command in commands)
    assert all("--device cpu" in command for command in commands)


def test_a_teacher_with_a_record_and_without_its_weights_is_trained_by_one_pack(tmp_path, small_digits):
    """As after a checkout with committed records: the packs that need it wait for the one that trains it."""
    item = next(item for item in planned(small_digits).values() if item.plan.teacher is not None)
    teacher = item.plan.teacher
    record = record_of(teacher, "AP50", tmp_path, curve=[{"iteration": 4, "AP50": 0.5}])
    Store(tmp_path / "results").write(record)
    sweep = sweep_of(tmp_path, small_digits)
    assert not sweep.made(teacher)
    assert [sweep._needs(state) for state in sweep.pending] == [{teacher.identity()}] * 2
    weights = sweep.settings.weights(teacher)
    weights.parent.mkdir(parents=True)
    weights.touch()
    assert sweep.made(teacher)
