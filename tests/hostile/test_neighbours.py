"""What a method changes for the whole process, or in the teacher, spoils no other's numbers."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from session_lab import Lab

from kdbench.errors import Disturbed, PluginError, UserError
from kdbench.runs.pack import run_pack
from kdbench.runs.settings import RunSettings


def test_a_watch_tells_changed_settings_and_weights():
    from kdbench.openmmlab.training.distiller import Teacher
    from kdbench.openmmlab.training.hooks import Watch

    teacher = Teacher(torch.nn.Linear(2, 2))
    watch = Watch()
    watch.check([teacher])
    torch.backends.mkldnn.enabled = False
    teacher.model.weight.data.mul_(0.9)
    with pytest.raises(
        Disturbed, match=r"^a method changed mkldnn.enabled .* and the teacher's weights during"
    ):
        watch.check([teacher])
    assert torch.backends.mkldnn.enabled


class Editing(torch.nn.Module):
    """A method that changes what it was given, as ``how`` says."""

    def __init__(self, how):
        super().__init__()
        self.how = how

    def edit(self, step, model):
        if self.how == "captures":
            step.teacher["neck"][0].zero_()
        if self.how == "weights" and step.iteration == 1:
            for parameter in model.teacher.model.parameters():
                parameter.mul_(0.9)


def edited(bench, how, **run):
    model = bench.distiller("gfl", "fitnets", **run)
    losses = model.method.losses

    def edit(step):
        with torch.no_grad():
            Editing(how).edit(step, model)
        return losses(step)

    model.method.losses = edit
    return model


def test_captures_changed_in_place_are_refused_alone_as_in_a_pack(bench):
    model = edited(bench, "captures", iterations=1)
    batch = bench.probe("gfl").batch(model)
    with pytest.raises(
        PluginError, match="it changed the teacher's captures in place: it must work on copies"
    ):
        model.compute(*batch)


def test_a_teacher_that_was_changed_stops_the_training(bench, tmp_path):
    """The teacher is the bench's own: it gets its weights back."""
    run = {"iterations": 2, "validations": 1}
    model = edited(bench, "weights", **run)
    weights = {name: value.clone() for name, value in model.teacher.model.state_dict().items()}
    try:
        with pytest.raises(Disturbed, match="a method changed the teacher's weights during the training"):
            bench.train(model, "gfl", tmp_path, **run)
    finally:
        model.teacher.model.load_state_dict(weights)
    assert [file.name for file in tmp_path.glob("iter_*.pth")] == ["iter_1.pth"], "none is spoiled"


class Packed(Lab):
    """Trainings of which that of ``guilty`` changes something that all depend on."""

    guilty = ""

    def load_teacher(self, *_):
        return SimpleNamespace(model=torch.nn.Identity(), missed={})

    def train(self, subject, place):
        if place.pack is not None:
            place.pack.turns.wait(0)
        if subject.name == self.guilty:
            raise Disturbed("a method changed MKL-DNN during the training")
        return super().train(subject, place)

    def outcome(self, *methods):
        settings = RunSettings(work_dir=self.root / "runs", results=self.store.root)
        return run_pack([self.plan(method) for method in methods], settings, self.told, self)


@pytest.fixture
def packed(pretend_checks, small_digits, tmp_path):
    made = Packed(small_digits, tmp_path)
    made.guilty = made.plan("hinton").cell.identity()
    return made


def test_a_pack_ends_where_one_lane_disturbs_all(packed):
    with pytest.raises(Disturbed):
        packed.outcome("none", "hinton", "mimic")
    assert not [record for record in packed.store.records()[0] if not record.done], "nobody is blamed yet"


def test_alone_the_guilty_one_has_failed(packed):
    (record,) = [record for record in packed.outcome("hinton").records if record.kind == "cell"]
    assert (record.status, record.reason) == ("failed", "a method changed MKL-DNN during the training")


def test_weights_that_are_not_those_of_the_teacher_s_record_are_refused(lab, monkeypatch):
    hashes = iter(["a" * 64, "a" * 64, "b" * 64])
    monkeypatch.setattr("kdbench.openmmlab.weights.checkpoints.weights_hash", lambda _model: next(hashes))
    trained = lab.train
    monkeypatch.setattr(lab, "train", lambda *given: _with_weights(trained(*given), "a" * 64))
    record = lab.run("hinton")
    assert record.teacher.weights_sha256 == "a" * 64
    (teacher,) = [record for record in lab.store.records()[0] if record.kind == "teacher"]
    assert teacher.weights_sha256 == "a" * 64
    lab.run("fitnets")
    with pytest.raises(
        UserError, match=r"^teacher: the weights in .*student.pth are not those of its record"
    ):
        lab.run("mimic")


def _with_weights(outcome, weights):
    from dataclasses import replace

    return replace(outcome, weights=weights)
