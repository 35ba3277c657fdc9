"""Cascade R-CNN: methods look into one stage of its RoI heads, the first unless the pair says another."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from test_lanes import in_a_pack, train
from torch.nn.functional import cross_entropy

from kdbench.distill.captures import FAMILIES, tensors_of
from kdbench.distill.randomness import seeded
from kdbench.errors import UserError

NAMES = FAMILIES["two-stage"]
STAGES = (1, 2, 3)
LOSS_WEIGHTS = (1.0, 0.5, 0.25)


def subject(bench: Any, stage: int, role: str = "student", kind: str = "cascade") -> Any:
    plain = bench.subject(kind, role)
    return replace(plain, model=plain.model.model_copy(update={"roi_stage": stage}))


@cache
def teacher(bench: Any, stage: int) -> Any:
    from kdbench.openmmlab.training.distiller import Teacher

    return Teacher(subject(bench, stage, "teacher").build())


@cache
def seen(bench: Any, stage: int) -> dict[str, Any]:
    """One training forward of a student with everything captured, and the teacher's side."""
    from kdbench.openmmlab.captures.families import captures_of, recording

    student = subject(bench, stage).build().train()
    inputs, samples = bench.probe("faster").batch(student)
    with seeded("test"), recording(student, NAMES) as raw:
        losses = student(inputs, samples, mode="loss")
    own = captures_of(student, raw, NAMES)
    theirs = teacher(bench, stage).captures(inputs, samples, student, raw, NAMES)
    return {"student": student, "inputs": inputs, "losses": losses, "own": own, "theirs": theirs}


@pytest.mark.parametrize("stage", STAGES)
def test_the_captures_are_the_stages(bench, stage):
    found = seen(bench, stage)
    rois = found["own"]["rois"]
    assert torch.equal(rois, found["theirs"]["rois"])
    assert set(rois[:, 0].tolist()) == {0.0, 1.0}
    for model, side in ((found["student"], "own"), (teacher(bench, stage).model, "theirs")):
        head, captured = model.roi_head, found[side]
        pooled = head.bbox_roi_extractor[stage - 1](captured["neck"], rois)
        logits, boxes = head.bbox_head[stage - 1](pooled)
        assert torch.equal(captured["roi_features"], pooled)
        assert torch.equal(captured["roi_logits"], logits)
        assert torch.equal(captured["roi_boxes"], boxes)


@pytest.mark.parametrize("stage", STAGES)
def test_the_targets_are_those_of_the_stages_loss(bench, stage):
    found = seen(bench, stage)
    assigned = found["own"]["roi_targets"]
    loss = cross_entropy(assigned.logits, assigned.labels) * LOSS_WEIGHTS[stage - 1]
    torch.testing.assert_close(loss, found["losses"][f"s{stage - 1}.loss_cls"])
    assert torch.equal(assigned.labels, found["theirs"]["roi_targets"].labels)
    assert len(assigned.positive) > 0


@pytest.mark.parametrize("stage", STAGES)
def test_gradients_reach_the_student_alone(bench, stage):
    found = seen(bench, stage)
    weight = found["student"].backbone.conv1.weight
    for name in ("roi_features", "roi_logits", "roi_boxes", "roi_targets"):
        assert not any(part.requires_grad for part in tensors_of(found["theirs"][name]))
        total = sum(part.sum() for part in tensors_of(found["own"][name]))
        (gradient,) = torch.autograd.grad(total, [weight], retain_graph=True)
        assert bool(gradient.any()), name


def test_stages_see_other_rois(bench):
    first, last = (seen(bench, stage)["own"]["rois"] for stage in (1, 3))
    assert first.shape != last.shape or not torch.equal(first, last)


def together(bench, student, taught_by, selector):
    from kdbench.openmmlab.checks.rehearsal import Untrained, check_together

    card, options = bench.card(selector)
    check_together(student, [taught_by], card, options, bench.place("nowhere"), Untrained(), force=False)


@pytest.mark.parametrize(
    ("stage", "selector", "told"),
    [
        (1, "hinton", None),
        (1, "chen", None),
        (3, "hinton", None),
        (3, "chen", "the RoI heads of student and teacher have other classes or encode boxes differently"),
    ],
)
def test_a_cascade_teaches_a_single_head(bench, stage, selector, told):
    """Each stage but the first encodes boxes in its own way."""
    models = bench.subject("faster"), subject(bench, stage, "teacher")
    if told is None:
        together(bench, *models, selector)
        return
    with pytest.raises(UserError, match=told):
        together(bench, *models, selector)


@pytest.mark.slow
def test_lanes_are_runs_alone_and_a_weight_of_zero_is_the_plain_student(bench, tmp_path):
    lanes, _ = in_a_pack(bench, "cascade", ["none", "chen", "hinton[weight=0]"], tmp_path)
    assert lanes["chen"] == train(bench, "cascade", "chen", tmp_path / "alone")
    assert lanes["hinton[weight=0]"].student == lanes["none"].student != lanes["chen"].student


@pytest.mark.parametrize(
    ("kind", "stage", "told"),
    [
        ("cascade", 4, "^a CascadeRCNN has 3 RoI heads: roi_stage 4 is none of them"),
        ("faster", 2, "^a FasterRCNN has 1 RoI head: roi_stage 2 is none of them"),
        ("gfl", 2, "^a GFL has no cascade of RoI heads: leave roi_stage 2 out"),
    ],
)
def test_a_stage_that_is_not_there(bench, kind, stage, told):
    with pytest.raises(UserError, match=told):
        subject(bench, stage, kind=kind).build()
