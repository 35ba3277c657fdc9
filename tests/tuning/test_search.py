"""Studies with fake trainings; a real one is in tests/cli/test_tune.py."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from kdbench.errors import GateError, RunError, UserError
from kdbench.results.store import Store
from kdbench.results.tuned import chosen_by
from kdbench.runs import provenance
from kdbench.runs.claims import Claims
from kdbench.runs.plan import plan
from kdbench.runs.provenance import record_of
from kdbench.runs.request import Request
from kdbench.runs.settings import TUNING, RunSettings
from kdbench.specs import TeacherSpec
from kdbench.tuning import search as tuning
from kdbench.tuning.search import Tuning

SCORES = {"teacher": 0.7, "none": 0.4}


class Silent:
    def say(self, line):
        pass

    @contextmanager
    def stage(self, title, iterations):
        yield None


class Lab:
    """Runs studies; ``trained`` has the selector of each run, ``on`` its training data and teacher."""

    def __init__(self, data, root):
        self.data, self.root = data, root
        self.trained, self.on, self.fails = [], [], {}

    def tuning(self, method="hinton", seed=0):
        request = Request(method=method, dataset="digits", pair="digits-gfl", seed=seed, data_root=self.data)
        settings = RunSettings(work_dir=self.root / "runs", results=self.root / "results")
        return Tuning(request, settings, Silent())

    def run(self, count, method="hinton", seed=0):
        self.trained = []
        return self.tuning(method, seed).run(count)

    def session(self, plan, settings, console):
        def record(spec):
            known = settings.store.find(spec.identity())
            if known is not None:
                return known
            name = "teacher" if isinstance(spec, TeacherSpec) else spec.selector
            self.trained.append(name)
            self.on.append((name, spec.dataset, getattr(spec, "teacher", None), spec.identity()))
            if (error := self.fails.pop(name, None)) is not None:
                raise error
            score = SCORES.get(name) or 0.5 / (1 + abs(plan.options.weight - 0.5))
            made = record_of(spec, "AP50", settings.work_dir, curve=[{"iteration": 1, "AP50": score}])
            settings.store.write(made)
            return made

        def teaching():
            return SimpleNamespace(measured=[SimpleNamespace(value=record(plan.teacher).score)])

        return SimpleNamespace(introduce=lambda: None, teaching=teaching, run=lambda: record(plan.cell))


@pytest.fixture
def lab(monkeypatch, small_digits, tmp_path):
    made = Lab(small_digits, tmp_path)
    monkeypatch.setattr(tuning, "Session", made.session)
    for room in (tuning, provenance):  # the real functions take half a second each time
        monkeypatch.setattr(room, "versions", lambda: {"python": "3"})
    return made


def test_the_first_trial_has_the_options_as_given(lab):
    study = lab.run(4, "hinton[temperature=3]")
    assert lab.trained == [
        "teacher",
        "none",
        "hinton[temperature=3]",
        *(t.selector for t in study.trials[1:]),
    ]
    assert all("temperature=3" in trial.selector for trial in study.trials)
    assert [trial.number for trial in study.trials] == [0, 1, 2, 3]
    assert (study.teacher, study.plain) == (0.7, 0.4)
    assert study.best(4) == max(study.trials, key=lambda trial: trial.value)
    assert study.best(1) == study.trials[0]
    assert set(study.left) == {"teachers", "temperature"}
    assert "optuna" in study.versions


def test_everything_is_trained_on_the_tuning_split_by_its_own_teacher(lab):
    lab.run(2)
    request = Request(method="hinton", dataset="digits", pair="digits-gfl", data_root=lab.data)
    ordinary = plan(request)
    assert {dataset for _, dataset, _, _ in lab.on} == {"digits-tuning"}
    teacher = next(identity for name, _, _, identity in lab.on if name == "teacher")
    assert teacher != ordinary.teacher.identity()
    assert {taught_by for name, _, taught_by, _ in lab.on if name.startswith("hinton")} == {teacher}


def test_a_stage_of_the_teacher_starts_from_the_studys_own(lab):
    tuning = lab.tuning("quantization-mimic[regions=gt-boxes]")
    made = tuning.plan("quantization-mimic[regions=gt-boxes]")
    assert made.staged.base == made.teacher.identity()
    assert made.cell.teacher == made.staged.identity()
    assert {made.teacher.dataset, made.staged.dataset, made.plain.dataset} == {"digits-tuning"}
    assert len({made.teacher.data, made.staged.data, made.cell.data, tuning.asked.cell.data}) == 2


def test_the_cell_of_the_chosen_options_is_known_with_its_trials(lab, caplog):
    study = lab.run(3)
    best, studies = study.best(3), lab.root / "results" / TUNING
    assert best is not None

    def chosen(method, **changes):
        same = {"dataset": "digits", "pair": "digits-gfl", "data_root": lab.data}
        return chosen_by(studies, plan(Request(method=method, **{**same, **changes})).cell)

    found = chosen(best.selector, seed=4)
    assert found is not None
    assert found.study == study.spec.identity()
    assert [(one.options, one.value) for one in found.trials] == [(t.options, t.value) for t in study.trials]
    others = [trial.selector for trial in study.trials if trial.options != best.options]
    assert [chosen(other) for other in others] == [None] * len(others)
    assert chosen(best.selector, schedule="smoke") is None, "another recipe"
    assert chosen(best.selector, pair="digits-faster-rcnn") is None
    next(studies.rglob("*.json")).write_text("{")
    assert chosen(best.selector) is None
    assert "cannot be read" in caplog.text


def test_nothing_is_ranked(lab):
    lab.run(2)
    assert Store(lab.root / "results").records() == ([], [])
    [file] = (lab.root / "results").rglob("*.json")
    assert file.parent == lab.root / "results" / "tuning" / "digits" / "digits-gfl"


def test_the_same_command_runs_nothing_again_and_more_trials_go_on(lab):
    three = lab.run(3)
    assert lab.run(3) == three
    assert not lab.trained
    five = lab.run(5)
    assert lab.trained == [trial.selector for trial in five.trials[3:]]
    assert five.trials[:3] == three.trials
    assert lab.run(3) == five, "trials beyond the requested number are kept"


def same(trials):
    return [trial.model_copy(update={"seconds": None}) for trial in trials]


def test_an_interrupted_study_ends_as_an_undisturbed_one(lab):
    whole = lab.run(5)
    lab.root = lab.root / "again"
    for number in (1, 3):
        lab.fails = {whole.trials[number].selector: KeyboardInterrupt()}
        with pytest.raises(KeyboardInterrupt):
            lab.run(5)
        [file] = (lab.root / "results").rglob("*.json")
        trials = json.loads(file.read_text())["trials"]
        assert [trial["status"] for trial in trials] == ["done"] * number + ["running"]
    assert same(lab.run(5).trials) == same(whole.trials)
    assert lab.trained == [trial.selector for trial in whole.trials[3:]]


def test_a_failed_trial_is_kept_and_not_tried_again(lab):
    second = lab.run(2, seed=1).trials[1].selector
    record = next(iter(lab.tuning().settings.store.records()[0]))
    for error, reason in (
        (RunError("loss became nan", record), "nan"),
        (GateError("too large"), "too large"),
    ):
        lab.root = lab.root / reason.replace(" ", "-")
        lab.fails = {second: error}
        study = lab.run(3, seed=1)
        assert [trial.status for trial in study.trials] == ["done", "failed", "done"]
        assert reason in study.trials[1].reason
        assert study.best(3) in (study.trials[0], study.trials[2])
        lab.run(3, seed=1)
        assert not lab.trained


def test_what_all_trials_share_ends_the_study(lab):
    for name, error in (("teacher", GateError("at chance")), ("none", OSError("gone"))):
        lab.fails = {name: error}
        with pytest.raises(type(error)):
            lab.run(2)
    assert not list((lab.root / "results" / "tuning").rglob("*.json"))


def test_a_mistake_in_the_given_options_is_no_trial(lab):
    lab.fails = {"hinton": UserError("these models do not line up")}
    with pytest.raises(UserError, match="line up"):
        lab.run(2)
    assert [trial.status for trial in lab.run(1).trials] == ["done"]


def test_two_processes_do_not_run_one_study(lab):
    study = lab.run(1)
    with Claims(lab.root / "results" / TUNING) as other:
        assert other.take(study.spec.identity())
        with pytest.raises(UserError, match="another process"):
            lab.run(2)
    assert len(lab.run(2).trials) == 2


def test_a_study_waits_for_a_teacher_that_another_trains(lab, monkeypatch):
    mine = lab.tuning()
    teacher = mine.plan("hinton").teacher
    waited = []
    with Claims(mine.settings.store.root) as other:
        assert other.take(teacher.identity())

        def later(seconds):
            waited.append(seconds)
            other.release(teacher.identity())

        monkeypatch.setattr(tuning.time, "sleep", later)
        mine.run(1)
    assert len(waited) == 1
    assert lab.trained[0] == "teacher"


def test_a_file_that_is_no_study_is_refused(lab):
    lab.run(1)
    [file] = (lab.root / "results").rglob("*.json")
    good = json.loads(file.read_text())
    bad = [
        "{}",
        json.dumps(good | {"trials": [good["trials"][0] | {"number": 1}]}),
        json.dumps(good | {"spec": good["spec"] | {"space": {}}}),
    ]
    for text in bad:
        file.write_text(text)
        with pytest.raises(UserError, match="move it away"):
            lab.run(2)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(lab):
    (lab.root / "results").mkdir()
    (lab.root / "results").chmod(0o500)
    with pytest.raises(UserError, match="Choose"):
        lab.run(1)
