"""What becomes of the latency of a pair's models, without models (real ones: tests/openmmlab/test_latency.py)."""

from __future__ import annotations

import pytest
import torch

from kdbench.errors import UserError
from kdbench.openmmlab import latency as timing
from kdbench.openmmlab.students import Subject
from kdbench.results.pages import latencies
from kdbench.runs import latency
from kdbench.runs.latency import measure_latency, teacher_of
from kdbench.runs.request import Request
from kdbench.runs.settings import RunSettings

ROUNDS = {"student": [8.0, 7.5, 9.0], "teacher": [20.0, 30.0, 19.0]}


@pytest.fixture
def trained(lab, monkeypatch):
    """A lab with a plain student and its teacher, whose models take ROUNDS."""
    lab.run("hinton")
    loaded = []

    def in_turns(models):
        assert list(models) == list(ROUNDS)
        return timing.Latencies(ROUNDS, lab.undisturbed)

    def load(subject, weights):
        loaded.append((subject.name, weights))
        return torch.nn.Identity(), {}

    monkeypatch.setattr(Subject, "loaded", load)
    monkeypatch.setattr(timing, "timed", lambda *_: None)
    monkeypatch.setattr(timing, "in_turns", in_turns)
    monkeypatch.setattr(latency, "start", lambda *_: None)
    lab.undisturbed, lab.loaded = 1.0, loaded
    lab.settings = RunSettings(work_dir=lab.root / "runs", results=lab.store.root)
    lab.measure = lambda method="none", **more: measure_latency(
        Request(method, "digits", data_root=lab.data, **more), lab.settings
    )
    return lab


def test_it_stands_in_the_plain_students_record_and_changes_nothing_else(trained):
    made, before = trained.plan(), trained.records()["none", "done"]
    assert teacher_of(made.plain) == made.teacher
    record = trained.measure()
    weights = [(made.plain.identity(), "student.pth"), (made.teacher.identity(), "student.pth")]
    assert [(name, path.name) for name, path in trained.loaded] == weights
    assert trained.records()["none", "done"] == record
    assert record.model_copy(update={"latency": None}) == before
    assert record.latency is not None
    assert record.latency.student.model_dump() == {"median": 8.0, "low": 7.5, "high": 9.0}
    assert latencies([record]) == [
        f"Latency on {record.machine}: student 8 ms (7.5 to 9), teacher 20 ms (19 to 30), in turns, nothing "
        "beside them."
    ]


def test_a_student_that_a_compression_made_has_its_own(trained):
    trained.run("binary-weights")
    record = trained.measure("binary-weights")
    assert record.latency is not None
    assert trained.records()["binary-weights", "done"] == record
    assert trained.records()["none", "done"].latency is None


def test_a_distilled_student_is_the_plain_ones_network(trained):
    assert "its student is the network of the plain student" in refused(trained, method="hinton")


def refused(lab, **more):
    with pytest.raises(UserError) as caught:
        lab.measure(**more)
    assert lab.records()["none", "done"].latency is None
    return str(caught.value)


def test_a_busy_machine_is_refused(trained):
    trained.undisturbed = 0.8
    assert "this process had its core for 80% of the time" in refused(trained)


def test_what_is_missing_is_named(trained):
    assert "plain student, seed 3 of digits-faster-rcnn has no record" in refused(trained, seed=3)
    teacher = trained.settings.folder(trained.plan().teacher) / "student.pth"
    teacher.unlink()
    assert f"teacher: {teacher} is missing" in refused(trained)


def test_a_record_of_another_kind_of_machine_is_left_alone(trained, monkeypatch):
    monkeypatch.setattr(latency, "host_class", lambda: "arm64, 64 cores")
    assert "this is cpu on arm64, 64 cores: measure it there" in refused(trained)
