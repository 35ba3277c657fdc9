"""A run by hand takes the claims that the workers of sweeps take."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from test_claims import HOLD, elsewhere, left_by, start

from kdbench.errors import UserError
from kdbench.runs.claims import Claims
from kdbench.runs.plan import plan
from kdbench.runs.provenance import record_of
from kdbench.runs.request import Request
from kdbench.runs.run import claimed, to_run
from kdbench.runs.settings import RunSettings


@pytest.fixture
def planned(small_digits):
    return plan(Request("hinton", "digits", data_root=small_digits))


@pytest.fixture
def settings(tmp_path):
    return RunSettings(work_dir=tmp_path / "runs", results=tmp_path / "results")


def record(spec, settings) -> None:
    """As if it had just been trained."""
    weights = settings.weights(spec)
    weights.parent.mkdir(parents=True, exist_ok=True)
    weights.touch()
    curve = [{"iteration": 4, "AP50": 0.25}]
    settings.store.write(record_of(spec, "AP50", weights.parent, curve=curve))


def test_all_that_is_trained_is_claimed_and_let_go_of(planned, settings):
    trained = [planned.teacher, planned.plain, planned.cell]
    others = Claims(settings.store.root)
    with claimed(to_run(planned, settings), settings):
        for spec in trained:
            assert not others.take(spec.identity())
        for spec in trained[:2]:
            record(spec, settings)
    assert others.holder(planned.cell.identity()) is None
    names = {path.name.split(".")[0] for path in others.folder.glob("[0-9a-f]*")}
    assert names == {planned.cell.identity()}, "what is done leaves no files"


def test_what_is_there_is_not_claimed(planned, settings):
    for spec in (planned.teacher, planned.plain):
        record(spec, settings)
    others = Claims(settings.store.root)
    assert others.take(planned.teacher.identity())
    with claimed(to_run(planned, settings), settings):
        assert others.take(planned.plain.identity())
        assert not others.take(planned.cell.identity())
    record(planned.cell, settings)
    with claimed(to_run(planned, settings), settings):
        assert others.take(planned.cell.identity())


def test_a_plain_student_that_is_missing_beside_a_done_cell_is_claimed(planned, settings):
    record(planned.cell, settings)
    others = Claims(settings.store.root)
    with claimed(to_run(planned, settings), settings):
        assert not others.take(planned.plain.identity())
        assert others.take(planned.teacher.identity())


@pytest.mark.parametrize(
    ("part", "what"), [("cell", "hinton, seed 0"), ("plain", "plain student, seed 0"), ("teacher", "teacher")]
)
def test_who_is_at_it_is_said_and_nothing_is_kept(planned, settings, part, what):
    identity = getattr(planned, part).identity()
    with start(HOLD, settings.store.root, identity) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        with pytest.raises(UserError) as refused, claimed(to_run(planned, settings), settings):
            pass
        process.kill()
    assert str(refused.value).startswith(f"{what}, on digits, is run by process {process.pid} on ")
    others = Claims(settings.store.root)
    assert all(others.take(spec.identity()) for spec in (planned.teacher, planned.plain, planned.cell))


@pytest.mark.parametrize("classes", [None, 80])
def test_a_given_teacher_is_measured_by_as_many_as_want_to_and_fine_tuned_by_one(
    small_digits, settings, tmp_path, monkeypatch, classes
):
    trainer = SimpleNamespace(other_classes=lambda *_: classes)
    monkeypatch.setattr("kdbench.runs.run.openmmlab", lambda: trainer)
    monkeypatch.setattr("kdbench.runs.run.subject_of", lambda *_: None)
    file = tmp_path / "given.pth"
    file.write_bytes(b"given")
    request = Request("hinton", "digits", data_root=small_digits, teacher_checkpoints=(file,))
    planned = plan(request)
    left_by(settings.store.root, elsewhere(), planned.teacher.identity())
    refusal = (
        nullcontext() if classes is None else pytest.raises(UserError, match="teacher, on digits, is run by")
    )
    with refusal, claimed(to_run(planned, settings), settings):
        pass


def test_it_is_let_go_of_where_the_run_ends_in_an_error(planned, settings):
    with pytest.raises(KeyboardInterrupt), claimed(to_run(planned, settings), settings):
        raise KeyboardInterrupt
    assert Claims(settings.store.root).take(planned.cell.identity())
