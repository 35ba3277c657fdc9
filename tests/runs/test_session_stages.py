"""Sessions whose method asks for a further stage of the teacher, with trainings that cost nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdbench.errors import RunError, UserError
from kdbench.runs.training import CODE

STAGED = "quantization-mimic"
SAME_STAGE = "quantization-mimic[weight=2]"


def weights_of(lab, spec) -> Path:
    return lab.root / "runs" / spec.identity()[:16] / "student.pth"


def test_a_staged_teacher_is_made_after_its_base_and_before_the_students(lab):
    record = lab.run(STAGED)
    made = lab.plan(STAGED)
    assert lab.trained == [s.identity() for s in (made.teacher, made.staged, made.plain, made.cell)]
    assert lab.starts == [weights_of(lab, made.teacher)]
    assert [line.rpartition(",")[0] for line in lab.told.lines if " of 4: " in line] == [
        "1 of 4: teacher",
        "2 of 4: quantized teacher",
        "3 of 4: plain student, seed 0",
        "4 of 4: quantization-mimic, seed 0",
    ]
    assert f"2 of 4: quantized teacher, {made.staged.recipe.iterations} iterations" in lab.told.lines
    assert lab.told.lines[2].startswith("quantized teacher: the teacher, fine-tuned with Quantization(")
    assert any(line.startswith("quantized teacher: AP50 0.500 in ") for line in lab.told.lines)
    assert record.teacher.identity == record.teacher_identity == made.staged.identity()
    assert len(lab.told.lines) == len(set(lab.told.lines))


def test_the_record_of_a_staged_teacher_says_what_it_began_with(lab):
    lab.run(STAGED)
    made = lab.plan(STAGED)
    base, staged = (lab.store.find(spec.identity()) for spec in (made.teacher, made.staged))
    assert (base.kind, staged.kind, staged.status, staged.score) == ("teacher", "teacher", "done", 0.5)
    assert base.teacher is None
    assert (staged.teacher.identity, staged.teacher.value) == (base.identity, 0.5)
    assert staged.spec["base"] == base.identity
    assert lab.store.path_of(staged).parent == lab.store.path_of(base).parent


def test_a_staged_teacher_is_made_once(lab):
    lab.run(STAGED)
    made = lab.plan(STAGED)
    before = weights_of(lab, made.teacher).stat().st_mtime_ns
    lab.run(SAME_STAGE)
    assert lab.trained == [lab.plan(SAME_STAGE).cell.identity()]
    assert "quantized teacher: done already, AP50 0.500" in lab.told.lines
    lab.run(STAGED, seed=1)
    assert lab.trained == [
        spec.identity() for spec in (lab.plan(STAGED, seed=1).plain, lab.plan(STAGED, seed=1).cell)
    ]
    assert weights_of(lab, made.teacher).stat().st_mtime_ns == before
    assert len(lab.starts) == 1


def test_another_stage_begins_with_the_same_base(lab):
    lab.run()
    lab.run("quantization-mimic[step=2]")
    other = lab.plan("quantization-mimic[step=2]")
    assert lab.trained == [other.staged.identity(), other.cell.identity()]
    assert "1 of 2: quantized teacher, " in "\n".join(lab.told.lines)
    assert lab.starts == [weights_of(lab, lab.plan().teacher)]


def test_a_method_without_a_stage_gets_the_base_also_beside_a_staged_one(lab):
    lab.run(STAGED)
    record = lab.run("quantization-mimic[variant=none]")
    assert record.teacher.identity == lab.plan().teacher.identity()
    assert lab.trained == [record.identity]


def test_a_staged_teacher_needs_its_base_no_more(lab):
    lab.run(STAGED)
    weights_of(lab, lab.plan().teacher).unlink()
    lab.run(SAME_STAGE)
    assert lab.trained == [lab.plan(SAME_STAGE).cell.identity()]
    staged = lab.plan(STAGED).staged
    weights_of(lab, staged).unlink()
    lab.run(STAGED, seed=1)
    assert lab.trained[:2] == [lab.plan().teacher.identity(), staged.identity()]


def test_a_stage_begins_with_a_given_checkpoint(lab, tmp_path):
    file = tmp_path / "given.pth"
    file.write_bytes(b"given")
    lab.run(STAGED, teacher_checkpoints=(file,))
    made = lab.plan(STAGED, teacher_checkpoints=(file,))
    assert lab.trained == [s.identity() for s in (made.staged, made.plain, made.cell)]
    assert lab.starts == [file]
    assert lab.store.find(made.teacher.identity()).score == 0.5
    lab.run(SAME_STAGE, teacher_checkpoints=(file,))
    assert lab.trained == [lab.plan(SAME_STAGE, teacher_checkpoints=(file,)).cell.identity()]


def test_a_failed_stage_is_recorded_and_tried_again(lab):
    made = lab.plan(STAGED)
    lab.fail, lab.fails = RuntimeError("out of luck"), made.staged.identity()
    with pytest.raises(RunError, match="quantized teacher: RuntimeError: out of luck"):
        lab.run(STAGED)
    (failed,) = [r for r in lab.store.records("digits")[0] if not r.done]
    assert (failed.identity, failed.kind) == (made.staged.identity(), "teacher")
    lab.fail = None
    lab.run(STAGED)
    assert lab.trained == [s.identity() for s in (made.staged, made.plain, made.cell)]


def test_an_interrupted_stage_says_from_where_it_goes_on(lab):
    made = lab.plan(STAGED)
    folder = weights_of(lab, made.staged).parent
    folder.mkdir(parents=True)
    (folder / "iter_7.pth").touch()
    (folder / CODE).write_text(made.code)
    lab.run(STAGED)
    assert "2 of 4: quantized teacher resumes from iteration 7" in lab.told.lines


@pytest.mark.parametrize("changes", [{}, {"force": True}, {"schedule": "smoke"}])
def test_a_staged_teacher_at_chance(lab, changes):
    lab.run(schedule=changes.get("schedule", "default"))
    lab.score = 0.001
    told = r"quantized teacher: the teacher's AP50 is 0\.001, no better than chance"
    if not changes:
        with pytest.raises(UserError, match=told):
            lab.run(STAGED)
        assert lab.trained == [lab.plan(STAGED).staged.identity()]
        return
    notes = "\n".join(lab.run(STAGED, **changes).notes)
    assert ("overruled: quantized teacher" in notes) is ("force" in changes)


def test_a_stage_that_cannot_work_is_refused_before_anything_is_trained(lab, monkeypatch):
    from kdbench_papers.quantization_mimic import losses

    monkeypatch.delattr(losses, "Quantization")
    with pytest.raises(UserError, match=r"the quantized teacher's transform .* cannot be made"):
        lab.run(STAGED)
    assert lab.trained == []
