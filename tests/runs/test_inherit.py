"""Pairs whose students start from the teacher's neck and heads: identities, and what is trained in which order."""

from __future__ import annotations

import pytest

from kdbench.errors import UserError
from kdbench.runs.made import teachers_to_train
from kdbench.runs.plan import stored
from kdbench.specs import StagedTeacherSpec
from kdbench.tuning.search import on_tuning_split

INHERIT = {"settings": ("inherit=true",)}


def test_it_is_part_of_the_identity_only_where_it_is_true(lab):
    usual, same, other = lab.plan(), lab.plan(settings=("inherit=false",)), lab.plan(**INHERIT)
    assert "inherit" not in str(stored(usual.cell))
    assert usual.ancestor is None
    assert same.cell.pair == usual.cell.pair
    assert (other.cell.pair.inherit, other.cell.pair.inherits) == (True, other.teacher.identity())
    assert other.ancestor == other.teacher
    assert other.plain.pair == other.cell.pair
    assert other.plain.teacher is None
    assert other.plain.identity() != usual.plain.identity()


def test_the_plain_student_of_every_method_is_the_one_that_runs_alone(lab, tmp_path):
    file = tmp_path / "given.pth"
    file.write_bytes(b"given")
    given = INHERIT | {"teacher_checkpoints": (file,)}
    for changes in (INHERIT, given):
        alone = lab.plan("none", **changes)
        assert alone.cell == alone.plain == lab.plan("hinton", **changes).plain
        assert alone.cell == lab.plan("quantization-mimic", **changes).plain
    assert lab.plan("none", **given).plain != lab.plan("none", **INHERIT).plain


def test_the_teacher_is_trained_before_the_plain_student(lab):
    made = lab.plan("none", **INHERIT)
    assert lab.run("none", **INHERIT).identity == made.cell.identity()
    assert lab.trained == [made.ancestor.identity(), made.plain.identity()]
    assert "2 of 2: plain student, seed 0" in "\n".join(lab.told.lines)
    lab.run(**INHERIT)
    assert lab.trained == [lab.plan(**INHERIT).cell.identity()]


def test_a_sweep_knows_that_the_plain_student_needs_it(lab):
    made = lab.plan("none", **INHERIT)
    assert list(teachers_to_train(made, lambda _: False)) == [made.ancestor.identity()]
    assert teachers_to_train(lab.plan("none"), lambda _: False) == {}


def test_it_is_the_teacher_before_a_stage(lab):
    made = lab.plan("quantization-mimic", **INHERIT)
    assert isinstance(made.staged, StagedTeacherSpec)
    assert made.cell.pair.inherits == made.staged.base
    lab.run("quantization-mimic", **INHERIT)
    assert lab.trained == [spec.identity() for spec in (made.teacher, made.staged, made.plain, made.cell)]


def test_a_tuning_study_inherits_from_a_teacher_that_has_not_seen_its_validation_images(lab):
    made = lab.plan(**INHERIT)
    moved = on_tuning_split(made, made.dataset, "0" * 64)
    assert moved.ancestor == moved.teacher != made.ancestor
    assert moved.plain.pair.inherits == moved.cell.pair.inherits == moved.teacher.identity()


@pytest.mark.parametrize(
    ("setting", "why"), [("inherit=3", "inherit"), ("inherit.x=1", "SECTION"), (".inherit=true", "SECTION")]
)
def test_anything_else_is_refused(lab, setting, why):
    with pytest.raises(UserError, match=why) as caught:
        lab.plan(settings=(setting,))
    assert "\n" not in str(caught.value)
