"""The order of a session and its records, with trainings that cost nothing (real ones: tests/cli/test_run.py)."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from session_lab import METRICS

from kdbench.errors import GateError, PluginError, RunError, UserError
from kdbench.openmmlab.training.run_files import interrupted_at
from kdbench.results.leaderboard import frame_of, rankings
from kdbench.results.record import Trial, Tuned
from kdbench.runs import training
from kdbench.runs.cells import OUTDATED
from kdbench.runs.made import is_made
from kdbench.runs.settings import RunSettings
from kdbench.runs.training import CODE


def test_teacher_plain_student_and_method_in_this_order(lab):
    record = lab.run()
    made = lab.plan()
    assert lab.trained == [spec.identity() for spec in (made.teacher, made.plain, made.cell)]
    assert [line for line in lab.told.lines if " of 3: " in line] == [
        f"1 of 3: teacher, {made.teacher.recipe.iterations} iterations",
        f"2 of 3: plain student, seed 0, {made.plain.pair.schedule.iterations} iterations",
        f"3 of 3: hinton, seed 0, {made.plain.pair.schedule.iterations} iterations",
    ]
    assert lab.told.lines[0].startswith(
        f"hinton on digits: pair {made.cell.pair.name}, seed 0, default schedule"
    )
    assert lab.told.lines[1:3] == ["teacher: checked", "student: checked"]
    assert set(lab.records()) == {("teacher", "done"), ("none", "done"), ("hinton", "done")}
    assert record == lab.records()["hinton", "done"]
    assert len(lab.told.lines) == len(set(lab.told.lines))


def test_a_control_trains_longer_beside_the_plain_student(lab):
    record, made = lab.run("none[time=1.5]"), lab.plan("none[time=1.5]")
    assert lab.trained == [made.plain.identity(), made.cell.identity()]
    iterations = made.plain.pair.schedule.iterations
    assert [line for line in lab.told.lines if " of 2: " in line] == [
        f"1 of 2: plain student, seed 0, {iterations} iterations",
        f"2 of 2: none[time=1.5], seed 0, {round(1.5 * iterations)} iterations",
    ]
    assert (record.identity, record.teacher, record.is_control) == (made.cell.identity(), None, True)
    lab.run("none[time=1.5]")
    assert lab.trained == []


def test_an_ensemble(lab):
    record = lab.run("hinton[teachers=3]")
    made = lab.plan("hinton[teachers=3]")
    assert [spec.seed for spec in (made.teacher, *made.others)] == [0, 1, 2]
    teachers = [spec.identity() for spec in (made.teacher, *made.others)]
    assert lab.trained == [*teachers, made.plain.identity(), made.cell.identity()]
    assert [line.split(",")[0] for line in lab.told.lines if " of 5: " in line][:2] == [
        "1 of 5: teacher",
        "2 of 5: teacher",
    ]
    assert record.teacher.identity == teachers[0]
    assert record.notes[0].startswith(
        f"ensemble of 3 teachers: {teachers[0][:12]} 0.500, {teachers[1][:12]} 0.500"
    )
    lab.run("hinton[teachers=2]")
    assert len(lab.trained) == 1, "teachers and the plain student are there"
    board = frame_of(rankings(lab.store.records("digits")[0]))
    assert list(board["method"]) == ["teacher", "none", "hinton[teachers=2]", "hinton[teachers=3]"]
    assert board["seeds"].iloc[0] == 1, "the further teachers are no rows of their own"


def test_a_record_names_the_study_that_chose_its_options(lab, monkeypatch):
    trials = [Trial(options=lab.plan().cell.options, value=0.5)]
    tuned = Tuned(study="0" * 64, validation="its split val", trials=trials)
    asked = []

    def chosen_by(studies, spec):
        asked.append((studies, spec.method))
        return tuned

    monkeypatch.setattr(training, "chosen_by", chosen_by)
    assert lab.run().tuned == tuned
    assert asked == [(lab.store.root / "tuning", "hinton")], "teachers and plain students have no options"
    assert {record.tuned for key, record in lab.records().items() if key[0] != "hinton"} == {None}


def test_what_a_record_says(lab):
    record = lab.run()
    made = lab.plan()
    assert (record.kind, record.identity, record.score) == ("cell", made.cell.identity(), 0.5)
    assert record.metrics.last == METRICS
    assert record.metrics.best == {"iteration": 1, "AP50": 0.9}
    assert record.teacher.model_dump() == {
        "identity": made.teacher.identity(),
        "config": made.teacher.model.config,
        "weights_sha256": "c" * 64,
        "value": 0.5,
    }
    assert (record.cost.seconds_per_iteration, record.notes, record.device) == (0.1, ["a note"], "cpu")
    assert record.made.path == str(lab.root / "runs" / record.identity[:16])
    assert lab.records()["none", "done"].teacher is None


def test_what_is_done_is_not_done_again(lab):
    first = lab.run()
    assert lab.run() == first
    assert lab.trained == []
    assert lab.told.lines[1:] == [
        "hinton, seed 0: done already, AP50 0.500",
        "plain student, seed 0: done already, AP50 0.500",
    ]


def test_methods_share_the_teacher_and_the_plain_student(lab):
    lab.run()
    teacher = lab.store.path_of(lab.records()["teacher", "done"])
    before = teacher.read_bytes(), teacher.stat().st_mtime_ns
    lab.run("mimic")
    assert lab.trained == [lab.plan("mimic").cell.identity()]
    assert "1 of 1: mimic, seed 0, " in "\n".join(lab.told.lines)
    assert (teacher.read_bytes(), teacher.stat().st_mtime_ns) == before


def test_another_seed_has_its_own_plain_student_and_the_same_teacher(lab):
    lab.run()
    lab.run(seed=1)
    made = lab.plan(seed=1)
    assert lab.trained == [made.plain.identity(), made.cell.identity()]


def test_a_teacher_without_its_weights_is_trained_again(lab):
    lab.run()
    identity = lab.plan().teacher.identity()
    (lab.root / "runs" / identity[:16] / "student.pth").unlink()
    lab.run("mimic")
    assert lab.trained == [identity, lab.plan("mimic").cell.identity()]


def test_weights_without_a_record_are_not_trusted(lab):
    lab.run()
    record = lab.records()["teacher", "done"]
    lab.store.path_of(record).unlink()
    lab.run("mimic")
    assert lab.trained[0] == record.identity


def test_a_missing_plain_student_is_trained_also_beside_a_done_method(lab):
    first = lab.run()
    lab.store.path_of(lab.records()["none", "done"]).unlink()
    assert lab.run() == first
    assert lab.trained == [lab.plan().plain.identity()]


def test_the_plain_student_alone_needs_no_teacher(lab):
    assert lab.run("none").method == "none"
    assert lab.trained == [lab.plan().plain.identity()]
    assert "1 of 1: plain student, seed 0" in "\n".join(lab.told.lines)


def test_a_given_checkpoint_is_measured_once_and_never_trained(lab, tmp_path, monkeypatch):
    file = tmp_path / "given.pth"
    file.write_bytes(b"given")
    lab.run(teacher_checkpoints=(file,))
    made = lab.plan(teacher_checkpoints=(file,))
    assert lab.trained == [made.plain.identity(), made.cell.identity()]
    record = lab.records()["teacher", "done"]
    assert (record.spec["checkpoint"], record.score) == (made.teacher.checkpoint, 0.5)
    monkeypatch.setattr(lab, "evaluate", None)
    lab.run("mimic", teacher_checkpoints=(file,))
    assert "teacher: done already, AP50 0.500" in lab.told.lines


def test_a_given_checkpoint_of_other_classes_is_fine_tuned_once(lab, tmp_path):
    file = tmp_path / "given.pth"
    file.write_bytes(b"given")
    lab.other = 80
    lab.run(teacher_checkpoints=(file,))
    made = lab.plan(teacher_checkpoints=(file,))
    told = "teacher: its checkpoint is for other classes: it is fine-tuned first, for 1500 iterations"
    assert told in lab.told.lines
    assert lab.trained == [spec.identity() for spec in (made.teacher, made.plain, made.cell)]
    assert lab.starts == [file]
    settings = RunSettings(work_dir=lab.root / "runs", results=lab.store.root)
    assert is_made(settings, made.teacher)
    lab.run("mimic", teacher_checkpoints=(file,))
    assert lab.trained == [lab.plan("mimic", teacher_checkpoints=(file,)).cell.identity()]
    RunSettings(work_dir=lab.root / "runs").weights(made.teacher).unlink()
    assert not is_made(settings, made.teacher)


def test_a_measured_checkpoint_needs_no_weights_beside_its_record(lab, tmp_path):
    file = tmp_path / "given.pth"
    file.write_bytes(b"given")
    lab.run(teacher_checkpoints=(file,))
    settings = RunSettings(work_dir=lab.root / "runs", results=lab.store.root)
    assert is_made(settings, lab.plan(teacher_checkpoints=(file,)).teacher)


def test_a_failure_is_recorded_and_tried_again(lab):
    from kdbench.openmmlab.training.losses import NonFiniteLoss

    lab.fail = NonFiniteLoss(7, "loss_bbox", float("nan"))
    with pytest.raises(
        RunError, match="plain student, seed 0: loss_bbox became nan at iteration 7"
    ) as caught:
        lab.run("none")
    assert caught.value.record == lab.records()["none", "failed"]
    assert caught.value.record.reason == "loss_bbox became nan at iteration 7"
    lab.fail = None
    lab.run("none")
    assert set(lab.records()) == {("none", "done")}


def test_a_training_that_raises_is_recorded_with_its_traceback_in_a_file(lab):
    lab.fail = RuntimeError("expected more than 1 value per channel\nand more")
    with pytest.raises(
        RunError, match=r"RuntimeError: expected .* The traceback is in .*traceback.txt"
    ) as caught:
        lab.run("none")
    record = caught.value.record
    assert record.status == "failed"
    assert record.reason == "RuntimeError: expected more than 1 value per channel and more"
    trace = lab.root / "runs" / record.identity[:16] / "traceback.txt"
    assert "raise self.fail" in trace.read_text()


def test_a_teacher_at_chance_is_refused_before_any_student(lab):
    lab.score = 0.001
    with pytest.raises(UserError, match=r"the teacher's AP50 is 0\.001, no better than chance"):
        lab.run()
    assert lab.trained == [lab.plan().teacher.identity()]
    assert set(lab.records()) == {("teacher", "done"), ("hinton", "failed")}


@pytest.mark.parametrize(("changes", "noted"), [({"force": True}, True), ({"schedule": "smoke"}, False)])
def test_a_teacher_at_chance_goes_by_force_and_in_smoke(lab, changes, noted):
    lab.score = 0.001
    record = lab.run(**changes)
    assert record.method == "hinton"
    assert any("overruled: the teacher's AP50" in note for note in record.notes) is noted
    assert record.notes[-1] == "a note"


def test_a_gate_leaves_a_failed_record_with_its_reason_and_a_mistake_none(lab, monkeypatch):
    def refuse(error: UserError) -> None:
        def gate(*_: Any, **__: Any) -> None:
            raise error

        monkeypatch.setattr(lab, "train_with", gate)
        with pytest.raises(UserError, match="is zero"):
            lab.run()

    refuse(UserError("the file is zero"))
    assert set(lab.records()) == {("teacher", "done"), ("none", "done")}
    refuse(GateError("The distillation loss is zero."))
    assert set(lab.records()) == {("teacher", "done"), ("none", "done"), ("hinton", "failed")}
    (failed,) = [record for record in lab.store.records()[0] if not record.done]
    assert failed.reason == "The distillation loss is zero."


def test_what_cannot_work_is_refused_before_anything_is_trained(lab, monkeypatch):
    def refuse(*_: Any) -> None:
        raise UserError("does not work")

    monkeypatch.setattr("kdbench.runs.refusals.check_method", refuse)
    with pytest.raises(UserError, match="does not work"):
        lab.run()
    assert lab.trained == []
    assert lab.records() == {}


def test_a_method_that_fails_between_untrained_models_is_recorded_before_anything_is_trained(
    lab, monkeypatch
):
    def fail(*_: Any, **__: Any) -> None:
        raise PluginError("method 'hinton' failed in losses(): ValueError: no luck")

    monkeypatch.setattr("kdbench.openmmlab.checks.rehearsal.check_together", fail)
    with pytest.raises(RunError, match=r"failed in losses\(\).* The traceback is in "):
        lab.run()
    assert lab.trained == []
    assert set(lab.records()) == {("hinton", "failed")}


def test_models_that_do_not_go_together_are_refused_before_anything_is_trained(lab, monkeypatch):
    def refuse(*_: Any, **__: Any) -> None:
        raise UserError("do not line up")

    monkeypatch.setattr("kdbench.openmmlab.checks.rehearsal.check_together", refuse)
    with pytest.raises(UserError, match="do not line up"):
        lab.run()
    assert lab.trained == []
    assert lab.records() == {}
    lab.run("none")
    monkeypatch.undo()


def test_a_gate_says_how_to_overrule_it(lab):
    lab.score = 0.001
    with pytest.raises(
        GateError, match=r"no better than chance .* To go on all the same, give `force=True`\.$"
    ):
        lab.run()


def test_a_cut_record_is_told_kept_and_made_again(lab):
    lab.run("none")
    path = lab.store.path_of(lab.records()["none", "done"])
    cut = path.read_bytes()[:100]
    path.write_bytes(cut)
    lab.run("none")
    assert lab.told.lines[0].startswith(f"broken record {path}: ")
    assert len(lab.trained) == 1
    assert [file.read_bytes() for file in path.parent.glob("*.broken")] == [cut]
    assert lab.records()["none", "done"].score == 0.5


def test_no_space_for_the_record(lab, monkeypatch):
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("kdbench.results.store.write_atomically", full)
    with pytest.raises(UserError, match=r"no space left to write .*\.json: free some"):
        lab.run("none")


def test_a_training_that_goes_on_says_from_where(lab):
    folder = lab.root / "runs" / lab.plan().plain.identity()[:16]
    folder.mkdir(parents=True)
    (folder / "iter_120.pth").touch()
    assert interrupted_at(folder) == 120
    lab.run("none")
    assert "1 of 1: plain student, seed 0 resumes from iteration 120" in lab.told.lines


@pytest.mark.parametrize("code", [None, "other", "same"])
def test_a_method_goes_on_with_the_code_that_began_it_alone(lab, code):
    """Else half of the training would be of one method and half of another."""
    made = lab.plan()
    folder, own = lab.root / "runs" / made.cell.identity()[:16], made.code
    folder.mkdir(parents=True)
    checkpoint = folder / "iter_120.pth"
    checkpoint.touch()
    if code is not None:
        (folder / CODE).write_text(own if code == "same" else code)
    lab.run()
    does = "resumes from iteration 120"
    if code != "same":
        does = "starts again: the method's code is not that of iteration 120"
    assert f"3 of 3: hinton, seed 0 {does}" in lab.told.lines
    assert checkpoint.exists() == (interrupted_at(folder) == 120) == (code == "same")
    assert (folder / CODE).read_text() == own


def test_a_done_record_of_other_code_is_said_to_be_one(lab):
    record, done = lab.run(), "hinton, seed 0: done already, AP50 0.500"
    assert (record.code, record.plugin.partition(" ")[0]) == (lab.plan().code, "kdbench")
    lab.run()
    assert done in lab.told.lines
    lab.store.write(record.model_copy(update={"code": "0" * 64}))
    lab.run()
    assert any(line.startswith(f"{done}, {OUTDATED}: ") for line in lab.told.lines)
    lab.run(rerun=True)
    assert lab.trained == [record.identity]
    lab.run()
    assert done in lab.told.lines


def test_a_cell_that_is_run_again_replaces_its_record_whatever_comes_of_it(lab):
    first = lab.run()
    lab.score = 0.7
    again = lab.run(rerun=True)
    assert (lab.trained, again.score) == ([first.identity], 0.7)
    assert lab.store.find(first.identity) == again
    lab.fail, lab.fails = RuntimeError("out of luck"), first.identity
    with pytest.raises(RunError, match="out of luck"):
        lab.run(rerun=True)
    assert lab.store.find(first.identity) is None
    assert lab.records()["none", "done"].score == 0.5


def test_a_plain_student_and_a_teacher_have_no_code_of_a_method(lab):
    lab.run()
    records = {record.method: record for record in lab.store.records("digits")[0]}
    assert records["teacher"].code is records["none"].code is None
    assert (records["teacher"].plugin, records["none"].plugin.partition(" ")[0]) == ("", "kdbench")


def test_only_the_main_process_writes(lab, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    assert lab.run("none").done
    assert lab.records() == {}
