"""What becomes of a pack's lanes, with trainings that cost nothing (real ones: tests/openmmlab/test_lanes.py)."""

from __future__ import annotations

import errno
from types import SimpleNamespace

import pytest
import torch
from session_lab import Lab

from kdbench.errors import GateError, PluginError, UserError
from kdbench.runs.pack import run_pack
from kdbench.runs.settings import RunSettings

METHODS = ("none", "hinton", "fitnets", "mimic")


class Packed(Lab):
    """A lab whose trainings note how many lanes they are beside."""

    def __init__(self, data, root) -> None:
        super().__init__(data, root)
        self.beside, self.most = [], 10
        self.raises: dict[str, BaseException] = {}
        self.steps = 0

    def load_teacher(self, *_):
        return SimpleNamespace(model=torch.nn.Identity(), missed={})

    def train(self, subject, place):
        if place.pack is not None:
            lanes = len(place.pack.turns._lanes)
            self.beside.append(lanes)
            if lanes > self.most:
                raise torch.OutOfMemoryError
            for step in range(self.steps):
                place.pack.turns.wait(step)
        if subject.name in self.raises:
            raise self.raises[subject.name]
        return super().train(subject, place)

    def run(self, methods=METHODS):
        settings = RunSettings(work_dir=self.root / "runs", results=self.store.root)
        return run_pack([self.plan(method) for method in methods], settings, self.told, self)

    def identity(self, method):
        return self.plan(method).cell.identity()


@pytest.fixture
def packed(pretend_checks, small_digits, tmp_path):
    return Packed(small_digits, tmp_path)


def of(outcome):
    return {record.selector: record.status for record in outcome.records}


def together(outcome):
    """Which trainings each one's times can be compared with."""
    return {record.selector: record.cost.timed_with for record in outcome.records}


def test_the_plain_student_is_one_of_the_lanes(packed):
    outcome = packed.run()
    assert of(outcome) == dict.fromkeys(METHODS, "done")
    assert packed.beside == [4] * 4
    assert len(set(together(outcome).values())) == 1
    assert together(outcome)["none"] is not None
    assert any(
        "4 lanes side by side: plain student, seed 0, hinton, seed 0" in line for line in packed.told.lines
    )


def test_a_pack_without_the_plain_student_trains_its_cells_alone(packed):
    assert of(packed.run(("hinton", "mimic"))) == {"hinton": "done", "mimic": "done"}
    teacher = packed.plan("hinton").teacher.identity()
    assert set(packed.trained) == {teacher, packed.identity("hinton"), packed.identity("mimic")}


def test_what_has_a_record_is_not_trained_again(packed):
    packed.run(("none", "hinton"))
    packed.trained.clear()
    outcome = packed.run()
    assert of(outcome) == dict.fromkeys(METHODS, "done")
    assert set(packed.trained) == {packed.identity("fitnets"), packed.identity("mimic")}
    assert together(outcome)["mimic"] == together(outcome)["fitnets"] != together(outcome)["hinton"]


def test_too_little_memory_makes_smaller_packs(packed):
    packed.most = 2
    outcome = packed.run()
    assert of(outcome) == dict.fromkeys(METHODS, "done")
    assert packed.beside == [4, 2, 2, 2, 2]
    assert together(outcome)["none"] == together(outcome)["hinton"] != together(outcome)["mimic"]
    assert "not enough memory for 4 lanes: 4 of them train later" in packed.told.lines


def test_a_pack_has_as_many_lanes_as_the_first_one_leaves_room_for(packed, monkeypatch):
    packed.steps = 3
    monkeypatch.setattr("kdbench.openmmlab.process.room_for", lambda _each, _device: 1)
    outcome = packed.run()
    assert of(outcome) == dict.fromkeys(METHODS, "done")
    first, second = ("none", "hinton"), ("fitnets", "mimic")
    names = together(outcome)
    assert names[first[0]] == names[first[1]]
    assert names[second[0]] == names[second[1]] != names[first[0]]
    assert "not enough memory for 4 lanes: 2 of them train later" in packed.told.lines


def test_a_lane_alone_that_finds_no_memory_fails(packed):
    packed.raises[packed.identity("hinton")] = torch.OutOfMemoryError("out of memory")
    outcome = packed.run()
    assert of(outcome) == {"none": "done", "fitnets": "done", "mimic": "done", "hinton": "failed"}
    assert together(outcome)["hinton"] is None


def test_a_gate_that_fails_is_recorded_and_a_mistake_is_not(packed):
    packed.raises = {
        packed.identity("hinton"): GateError("the loss is zero"),
        packed.identity("mimic"): UserError("no such thing"),
    }
    outcome = packed.run()
    assert of(outcome) == {"none": "done", "fitnets": "done", "hinton": "failed"}
    assert outcome.refused == {packed.identity("mimic"): "no such thing"}
    failed = {record.selector: record.reason for record in outcome.records}
    assert failed["hinton"] == "the loss is zero"


def test_a_method_that_misbehaves_is_recorded_as_failed_under_its_name(packed):
    blamed = "method 'hinton' of kdbench 0.1.0 failed in losses(): ValueError: no luck"
    packed.raises[packed.identity("hinton")] = PluginError(blamed)
    outcome = packed.run()
    assert of(outcome) == {"none": "done", "fitnets": "done", "mimic": "done", "hinton": "failed"}
    assert together(outcome)["hinton"] is None
    assert outcome.refused == {}
    assert [record.reason for record in outcome.records if not record.done] == [blamed]
    assert any(f"{blamed}. The traceback is in " in line for line in packed.told.lines)


def test_a_method_that_fails_before_its_teacher_is_trained_is_recorded_once(packed, monkeypatch):
    def fail(_student, _teachers, card, *_, **__):
        if card.name == "hinton":
            raise PluginError("method 'hinton' failed in build(): no luck")

    monkeypatch.setattr("kdbench.openmmlab.checks.rehearsal.check_together", fail)
    outcome = packed.run(("hinton", "fitnets"))
    assert of(outcome) == {"hinton": "failed", "fitnets": "done"}
    assert [record.reason for record in outcome.records if not record.done] == [
        "method 'hinton' failed in build(): no luck"
    ]


def test_a_teacher_that_fails_fails_its_students(packed):
    teacher = packed.plan("hinton").teacher.identity()
    packed.raises[teacher] = RuntimeError("no luck")
    outcome = packed.run(("hinton",))
    reasons = {record.selector: record.reason for record in outcome.records if not record.done}
    assert reasons["hinton"].startswith("what it needs failed: teacher")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "full")])
def test_what_stops_everything_goes_on_up_when_the_others_have_their_records(packed, error):
    packed.raises[packed.identity("hinton")] = error
    with pytest.raises(type(error)):
        packed.run()
    done = {record.selector for record in packed.store.records("digits")[0] if record.done}
    assert {"none", "fitnets", "mimic"} <= done


def test_a_lane_does_not_begin_when_it_is_to_stop(packed, monkeypatch):
    def interrupted(subject, place, progress, start=None):
        if place.pack is not None:
            place.pack.stop.signalled = 1.0
        return packed.train(subject, place)

    monkeypatch.setattr(packed, "train_alone", interrupted)
    with pytest.raises(KeyboardInterrupt):
        packed.run()
    assert packed.beside == [4]  # the plain student, which was at work
