"""Cells of compressions: what model they train, and that they rank beside methods of the same pair."""

from __future__ import annotations

import pytest

from kdbench.errors import PluginError, UserError
from kdbench.plugins import load_method, registry
from kdbench.results.leaderboard import rankings
from kdbench.runs.cells import subject_of
from kdbench.runs.refusals import check_method
from kdbench.runs.settings import RunSettings

RIVALS = ["binary-weights", "channel-pruning"]


def subjects(lab, made):
    settings = RunSettings(work_dir=lab.root / "runs", results=lab.store.root)
    return [subject_of(spec, made, settings) for spec in (made.plain, made.cell, made.teacher)]


def test_a_pruned_student_is_the_pairs(lab):
    plain, own, _ = subjects(lab, made := lab.plan("channel-pruning"))
    assert own.model == plain.model == made.cell.pair.student


def test_a_binary_student_is_the_teacher_with_other_layers(lab):
    plain, own, teacher = subjects(lab, made := lab.plan("binary-weights"))
    assert plain.model == made.cell.pair.student
    assert own.model.config == teacher.model.config
    changed = {key: value for key, value in own.model.edits.items() if teacher.model.edits.get(key) != value}
    assert changed == {"backbone.conv_cfg": {"type": "kdbench_papers.binary_weights.layers.convolution"}}
    assert own.schedule == plain.schedule


def test_identity_holds_method_and_options_and_nothing_of_others_changes(lab):
    usual = lab.plan()
    for name in RIVALS:
        made = lab.plan(name)
        assert made.plain == usual.plain
        assert made.cell.pair == usual.cell.pair
        assert made.cell.teacher == usual.cell.teacher
        assert (made.cell.method, made.cell.revision) == (name, 1)
    fewer, usual = lab.plan("channel-pruning[images=7]"), lab.plan("channel-pruning")
    assert fewer.cell.identity() != usual.cell.identity()
    assert usual.cell.options == {"images": 100, "positions": 50}


def test_they_do_not_inherit(lab):
    made = lab.plan("channel-pruning", settings=("inherit=true",))
    plain, own, _ = subjects(lab, made)
    assert plain.inherits is not None
    assert own.inherits is None


def test_they_rank_beside_methods(lab):
    for name in ["hinton", *RIVALS]:
        record = lab.run(name)
        assert record.teacher is not None
    records = lab.store.records("digits")[0]
    (ranking,) = rankings(records)
    assert {row["method"] for row in ranking.methods} == {"hinton", *RIVALS}


def test_a_teacher_of_feature_maps_is_refused(lab):
    made = lab.plan("channel-pruning")
    features = made.cell.pair.teacher.model_copy(update={"config": "timm:resnet18"})
    pair = made.cell.pair.model_copy(update={"teacher": features})
    object.__setattr__(made, "cell", made.cell.model_copy(update={"pair": pair}))
    with pytest.raises(
        UserError, match=r"makes the student from its teacher: give one that is a whole model"
    ):
        check_method(made, subjects(lab, lab.plan())[0])


def test_they_are_no_part_of_a_sum(lab):
    with pytest.raises(UserError, match="'channel-pruning' makes the student and has no terms"):
        lab.plan("channel-pruning+hinton")


def test_card_and_class_must_agree(add_plugin):
    add_plugin(
        "their-kd",
        """
        @hookimpl
        def kdbench_methods():
            return [card("shrink", method="kdbench_papers.channel_pruning.method:ChannelPruning")]
        """,
    )
    with pytest.raises(
        PluginError, match=r"its class is a kdbench\.api\.Compression just where its card has"
    ):
        load_method(registry().method("shrink").value)
