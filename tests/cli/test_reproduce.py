"""`kdbench reproduce` on made-up trainings, and once on a real, tiny one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kdbench.results.record import Record
from kdbench.results.store import Store
from kdbench.runs.plan import plan
from kdbench.runs.request import Request
from kdbench.runs.session import Session
from kdbench.runs.settings import RunSettings

PAIR = ("--dataset", "digits", "--pair", "digits-gfl")


class Lab:
    """Trainings that cost nothing: ``score`` is what each one gives, ``trained`` their names."""

    def __init__(self, root: Path) -> None:
        self.root, self.score, self.trained, self.weights = root, 0.5, list[str](), "c" * 64
        self.fail = False

    def train(self, subject: Any, *arguments: Any, **_: Any) -> Any:
        from kdbench.openmmlab.students import Outcome

        place = next(argument for argument in arguments if hasattr(argument, "work_dir"))
        self.trained.append(subject.name)
        if self.fail:
            raise RuntimeError("no luck")
        place.work_dir.mkdir(parents=True, exist_ok=True)
        (place.work_dir / "student.pth").write_bytes(b"weights")
        steps = subject.schedule.iterations
        return Outcome([{"iteration": steps, "AP50": self.score}], {"seconds_per_iteration": 0.1}, [])

    def run(self, method: str = "hinton", **changes: Any) -> Record:
        request = Request(method=method, dataset="digits", pair="digits-gfl", **changes)
        quiet = SimpleNamespace(say=lambda _line: None, stage=_stage)
        settings = RunSettings(work_dir=self.root / "out/runs", results=self.root / "results")
        return Session(plan(request), settings, quiet).run()


def _stage(_title: str, _iterations: int) -> Any:
    from contextlib import nullcontext

    return nullcontext()


@pytest.fixture
def lab(monkeypatch, small_digits, tmp_path):
    from kdbench.openmmlab import students
    from kdbench.openmmlab.checks import preflight, rehearsal
    from kdbench.openmmlab.weights import checkpoints
    from kdbench.runs import refusals, reproduce

    made = Lab(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KDBENCH_DATA", str(small_digits))
    for name in ("train_alone", "train_with"):
        monkeypatch.setattr(students, name, made.train)
    monkeypatch.setattr(students, "load_teacher", lambda *_: SimpleNamespace(model="the teacher"))
    monkeypatch.setattr(checkpoints, "weights_hash", lambda _model: made.weights)
    monkeypatch.setattr(preflight, "check_teacher", lambda *_: None)
    monkeypatch.setattr(refusals, "check_method", lambda *_: None)
    monkeypatch.setattr(rehearsal, "check_model", lambda role, *_, **__: role)
    monkeypatch.setattr(rehearsal, "check_together", lambda *_, **__: None)
    monkeypatch.setattr(reproduce, "start", lambda _device, _dataset: "cpu")
    return made


@pytest.fixture
def row(lab):
    """The record of a row, as a run leaves it; what was trained for it is forgotten."""
    record = lab.run()
    lab.trained.clear()
    return record


def test_the_same_numbers_agree_and_teacher_and_plain_student_are_taken(kdbench, lab, row):
    done = kdbench("reproduce", "hinton", *PAIR)
    assert done.code == 0, done.err
    assert lab.trained == [row.identity]
    assert done.out.splitlines() == [
        f"row       hinton on digits-gfl, seed 0 ({row.identity[:12]})",
        f"then      AP50 50.00, cpu, {row.host_class}",
        f"now       AP50 50.00, cpu, {row.host_class}",
        "teacher   the same weights (AP50 50.00 then, 50.00 now)",
        "agrees: identical in every metric",
    ]
    assert "which has the recorded weights" in done.err
    assert not list(lab.root.glob("out/runs/reproduced/*"))


def test_other_numbers_disagree_are_kept_and_are_run_again_the_next_time(kdbench, lab, row):
    lab.score = 0.49
    for _ in range(2):
        lab.trained.clear()
        done = kdbench("reproduce", row.identity[:10])
        assert (done.code, lab.trained) == (1, [row.identity])
        assert (
            "disagrees: not identical on the CPU of the same kind of machine: AP50 differs by -1.00"
            in done.out
        )
        assert "run       out/runs/reproduced/" in done.out
    assert Store(lab.root / "results").find(row.identity) == row


@pytest.mark.parametrize("lost", ["weights", "hash"])
def test_a_teacher_without_the_recorded_weights_is_trained_too(kdbench, lab, row, lost):
    if lost == "weights":
        (lab.root / f"out/runs/{row.teacher.identity[:16]}/student.pth").unlink()
    else:
        lab.weights = "d" * 64
    done = kdbench("reproduce", "hinton", *PAIR)
    assert done.code == 0, done.err
    assert lab.trained == [row.teacher.identity, row.identity]
    assert "teacher: trained too (" in done.err
    assert f"teacher   {'other' if lost == 'hash' else 'the same'} weights" in done.out


def test_the_plain_student_is_trained_where_it_is_the_row(kdbench, lab, row):
    plain = next(r for r in Store(lab.root / "results").records()[0] if r.method == "none")
    assert kdbench("reproduce", "none", *PAIR).code == 0
    assert lab.trained == [plain.identity]


def test_a_record_file_and_another_seed(kdbench, lab, row):
    lab.run(seed=1)
    lab.trained.clear()
    path = Store(Path("results")).path_of(row)
    assert "seed 1" in kdbench("reproduce", str(path), "--seed", "1").out
    assert "has no result of seed 5: 0, 1" in kdbench("reproduce", str(path), "--seed", "5").err


def test_own_settings_come_back(kdbench, lab):
    record = lab.run(
        settings=("schedule.lr=1e-5", "student.backbone.base_channels=12", "teacher_schedule.iterations=7")
    )
    lab.trained.clear()
    done = kdbench("reproduce", record.identity[:12])
    assert done.code == 0, done.err
    assert lab.trained == [record.identity]
    record = lab.run(schedule="smoke")
    assert kdbench("reproduce", record.identity[:12]).code == 0


def test_what_is_not_as_it_was_is_named_and_not_run(kdbench, lab, row):
    from kdbench.specs import digest, unlabelled

    pair = {**row.spec["pair"], "title": "Old", "schedule": {**row.spec["pair"]["schedule"], "lr": 7.0}}
    spec = {**row.spec, "revision": 3, "pair": pair}
    changes = {"spec": spec, "identity": digest(unlabelled(spec))}
    old = Record.model_validate({**row.model_dump(), **changes})
    path = Store(Path("results")).write(old)
    done = kdbench("reproduce", str(path))
    assert (done.code, done.out, lab.trained) == (2, "", [])
    *told, last = done.err.splitlines()
    assert "differs: revision: 3 then, 2 now" in told
    assert any(line.startswith("differs: pair.schedule.lr: 7.0 then, ") for line in told)
    assert not any("title" in line for line in told)
    assert "compare all the same with --anyway" in last
    done = kdbench("reproduce", str(path), "--anyway")
    assert (done.code, lab.trained) == (0, [row.identity])


def test_a_training_that_fails_does_not_agree(kdbench, lab, row):
    lab.fail = True
    done = kdbench("reproduce", "hinton", *PAIR)
    assert done.code == 1
    assert "failed: hinton, seed 0: RuntimeError: no luck" in done.err
    assert "disagrees: the new run is failed: RuntimeError: no luck" in done.out


def test_a_file_that_is_no_record(kdbench, lab):
    Path("x.json").write_text("{}")
    done = kdbench("reproduce", "x.json")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "x.json is not a readable record" in done.err


@pytest.mark.slow
def test_a_real_run_comes_out_again(kdbench, small_digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KDBENCH_DATA", str(small_digits))
    done = kdbench("run", "--method", "hinton", *PAIR, "--schedule", "smoke", "--device", "cpu")
    assert done.code == 0, done.err
    for teacher in ("taken from", "trained too"):
        done = kdbench("reproduce", "hinton", *PAIR, "--device", "cpu")
        assert done.code == 0, done.err + done.out
        assert f"teacher: {teacher}" in done.err
        assert "the same weights" in done.out
        assert "agrees: identical in every metric" in done.out
        for weights in tmp_path.glob("out/runs/*/student.pth"):
            weights.unlink()
