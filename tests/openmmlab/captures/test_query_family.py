"""The DETR family: what its captures are, how queries are matched, and that methods keep their promises there."""

from __future__ import annotations

import copy
import re
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from query_models import LAYERS, QUERIES, QUERY, channels_of
from small_bench import CHANNELS, IMAGE
from test_lanes import in_a_pack, train
from test_rehearsal import together

from kdbench.distill.captures import FAMILIES, tensors_of
from kdbench.distill.randomness import seeded
from kdbench.errors import UserError

CLASSES = 10
NAMES = FAMILIES["query"]
SOFTMAX = {"detr"}
MAPS = {"deformable-detr": (8, 16, 32, 64), "dino": (8, 16, 32, 64)}
"""Strides of the maps that an encoder reads; the others read one of stride 32."""


@cache
def seen(bench: Any, kind: str) -> dict[str, Any]:
    """One training forward of a student with everything captured, and the teacher's side."""
    from kdbench.openmmlab.captures.families import captures_of, recording

    student, teacher = bench.subject(kind).build().train(), bench.teacher(kind)
    inputs, samples = bench.probe(kind).batch(student)
    with seeded("test"), recording(student, NAMES) as raw:
        losses = student(inputs, samples, mode="loss")
    own = captures_of(student, raw, NAMES)
    theirs = teacher.captures(inputs, samples, student, raw, NAMES)
    found = {"student": student, "teacher": teacher.model, "inputs": inputs, "samples": samples, "raw": raw}
    return found | {"losses": losses, "own": own, "theirs": theirs}


def shapes(value):
    return [tuple(part.shape) for part in tensors_of(value)]


@pytest.mark.parametrize("kind", QUERY)
def test_shapes(bench, kind):
    found = seen(bench, kind)
    for role, side in (("student", found["own"]), ("teacher", found["theirs"])):
        channels, columns = channels_of(kind, CHANNELS[role]), CLASSES + (kind in SOFTMAX)
        maps = [(2, channels, IMAGE // s, IMAGE // s) for s in MAPS.get(kind, (32,))]
        assert shapes(side["neck"]) == shapes(side["memory"]) == maps
        assert shapes(side["queries"]) == [(2, QUERIES, channels)] * LAYERS
        assert shapes(side["query_boxes"]) == [(2, QUERIES, 4)] * LAYERS
        assert shapes(side["query_logits"]) == [(2, columns, QUERIES)] * LAYERS
        assert shapes(side["logits"]) == [(2, columns, QUERIES)]
        assert side["logits"].activation == ("softmax" if kind in SOFTMAX else "sigmoid")
        assert torch.equal(side["logits"].values[0], side["query_logits"].values[-1])


@pytest.mark.parametrize("kind", QUERY)
def test_the_students_captures_are_what_its_loss_is_of(bench, kind):
    """Those of denoising are no part of it."""
    from mmdet.models.dense_heads import DETRHead

    found = seen(bench, kind)
    own, samples = found["own"], found["samples"]
    logits = torch.stack([layer.transpose(1, 2) for layer in own["query_logits"].values])
    truths, metas = [s.gt_instances for s in samples], [s.metainfo for s in samples]
    head = found["student"].bbox_head
    again = DETRHead.loss_by_feat(head, logits, torch.stack(own["query_boxes"]), truths, metas)
    assert len(again) == 3 * LAYERS
    for name, value in again.items():
        torch.testing.assert_close(value, found["losses"][name])
    assert ("dn_loss_cls" in found["losses"]) == (kind == "dino")


@pytest.mark.parametrize("kind", QUERY)
def test_the_teachers_captures_are_its_own_in_the_students_order(bench, kind):
    found = seen(bench, kind)
    teacher, theirs = found["teacher"], found["theirs"]
    with torch.no_grad():
        inputs = teacher.forward_transformer(teacher.extract_feat(found["inputs"]), found["samples"])
        queries = inputs["hidden_states"]
        logits, boxes = teacher.bbox_head(**inputs)
    for layer in range(LAYERS):
        for image in range(2):
            rows = [
                int((queries[layer, image] == row).all(1).nonzero())
                for row in theirs["queries"][layer][image]
            ]
            assert sorted(rows) == list(range(QUERIES))
            assert torch.equal(theirs["query_boxes"][layer][image], boxes[layer, image, rows])
            assert torch.equal(theirs["query_logits"].values[layer][image].T, logits[layer, image, rows])


@pytest.mark.parametrize("kind", QUERY)
def test_targets_of_the_queries(bench, kind):
    found = seen(bench, kind)
    objects = sum(len(sample.gt_instances) for sample in found["samples"])
    for side in (found["own"], found["theirs"]):
        for layer, assigned in enumerate(side["query_targets"]):
            boxes = side["query_boxes"][layer].flatten(0, 1)
            assert len(assigned.labels) == 2 * QUERIES
            assert len(assigned.positive) == objects == assigned.normaliser
            assert torch.equal(assigned.boxes, boxes[assigned.positive])
            assert torch.equal(
                assigned.logits, side["query_logits"].values[layer].transpose(1, 2).flatten(0, 1)
            )
    for ours, theirs in zip(found["own"]["query_targets"], found["theirs"]["query_targets"], strict=True):
        assert torch.equal(ours.labels, theirs.labels)
        assert torch.equal(ours.targets, theirs.targets)
    sizes = torch.tensor([IMAGE] * 4)
    truth = torch.cat([sample.gt_instances.bboxes for sample in found["samples"]])
    centres, sides = ours.targets[:, :2], ours.targets[:, 2:]
    corners = torch.cat([centres - sides / 2, centres + sides / 2], dim=1) * sizes
    assert torch.allclose(corners.sort(0)[0], truth.sort(0)[0], atol=1e-3)


def test_the_weights_of_the_targets_are_those_of_the_loss(bench):
    """DETR's: no object counts a tenth."""
    assigned = seen(bench, "detr")["own"]["query_targets"][-1]
    expected = torch.where(assigned.labels == CLASSES, 0.1, 1.0)
    assert torch.equal(assigned.weights, expected)


@pytest.mark.parametrize("kind", ["detr", "dino"])
def test_only_the_students_captures_carry_gradients(bench, kind):
    """DINO's new boxes are the encoder's, whose gradient is cut: only the head's own layers learn from them."""
    found = seen(bench, kind)
    stem, head = found["student"].backbone.conv1, list(found["student"].bbox_head.parameters())
    for name in NAMES:
        assert not any(part.requires_grad for part in tensors_of(found["theirs"][name]))
        total = sum(part.sum() for part in tensors_of(found["own"][name]))
        learning = head if (kind, name) == ("dino", "query_boxes") else [stem.weight]
        gradients = torch.autograd.grad(total, learning, retain_graph=True, allow_unused=True)
        assert any(gradient is not None and bool(gradient.any()) for gradient in gradients), name


MAPS_OR_LOGITS = (
    "fitnets",
    "at",
    "pkd",
    "cwd",
    "mgd",
    "fgd",
    "reviewkd",
    "fbkd",
    "hinton[matching=true]",
)


def stepped(model, raw):
    """The terms of a method on a batch; they and their gradients are finite and reach the student's backbone."""
    data = model.student.data_preprocessor(raw, True)
    with seeded("test"):
        losses, terms, _ = model.compute(data["inputs"], data["data_samples"])
    model.parse_losses(losses | {f"loss_{name}": term for name, term in terms.items()})[0].backward()
    gradients = [parameter.grad for parameter in model.student.backbone.parameters()]
    assert any(gradient is not None and bool(gradient.any()) for gradient in gradients)
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients if gradient is not None)
    assert all(bool(torch.isfinite(term)) for term in terms.values())
    return terms


@pytest.mark.parametrize("selector", MAPS_OR_LOGITS)
def test_methods_that_compare_maps_or_logits_run(bench, selector):
    model = bench.distiller("dino", selector).train()
    assert all(
        float(term.detach()) > 0 for term in stepped(model, copy.deepcopy(bench.probe("dino").raw)).values()
    )


def without_objects(raw):
    for sample in raw["data_samples"]:
        sample.gt_instances = sample.gt_instances[:0]
    return raw


def of_two_sizes(raw):
    """The second image is cut, and so padded in the batch."""
    size = (24, 40)
    raw["inputs"][1] = raw["inputs"][1][:, : size[0], : size[1]]
    raw["data_samples"][1].set_metainfo({"img_shape": size})
    raw["data_samples"][1].gt_instances.bboxes.clip_(size)
    return raw


@pytest.mark.parametrize("change", [without_objects, of_two_sizes])
@pytest.mark.parametrize("kind", QUERY)
def test_empty_and_padded_images(bench, kind, change):
    model = bench.distiller(kind, "hinton").train()
    stepped(model, change(copy.deepcopy(bench.probe(kind).raw)))


@pytest.mark.parametrize("kind", ["detr", "dino"])
def test_the_padding_of_the_memory_is_what_the_encoder_leaves_out(bench, kind):
    from kdbench.openmmlab.training.distiller import targets_of

    teacher = bench.teacher(kind)
    data = teacher.model.data_preprocessor(of_two_sizes(copy.deepcopy(bench.probe(kind).raw)), True)
    inputs, samples = data["inputs"], data["data_samples"]
    memory = teacher.captures(inputs, samples, teacher.model, {}, frozenset({"memory"}))["memory"]
    cells = targets_of(teacher.model, inputs, samples).valid(memory)
    left_out = teacher.model.pre_transformer(teacher.model.extract_feat(inputs), samples)[0]["feat_mask"]
    assert left_out.any()
    assert torch.equal(torch.cat([level.flatten(1) for level in cells], dim=1), ~left_out)


@pytest.mark.slow
def test_lanes_are_runs_alone_and_a_weight_of_zero_is_the_plain_student(bench, tmp_path):
    together, pack = in_a_pack(bench, "dino", ["none", "hinton", "hinton[weight=0]"], tmp_path)
    assert together["hinton"] == train(bench, "dino", "hinton", tmp_path / "alone")
    assert together["hinton[weight=0]"].student == together["none"].student != together["hinton"].student
    assert {teacher.runs for teacher in pack.teachers.values()} == {4}


def with_edits(bench, kind, role="student", **edits):
    subject = bench.subject(kind, role)
    return replace(subject, model=subject.model.model_copy(update={"edits": subject.model.edits | edits}))


@pytest.mark.parametrize(
    ("selector", "kinds", "edits", "told"),
    [
        (
            "hinton",
            ("dino", "dino"),
            {"num_queries": 8},
            "the student has 12 queries, the teacher 8: choose a",
        ),
        ("hinton", ("detr", "dab-detr"), {}, "one of them has a class for no object: choose a pair"),
        ("hinton", ("detr", "detr"), {"num_queries": 20}, None),
        ("hinton", ("deformable-detr", "dino"), {"decoder.num_layers": 3}, None),
        ("fitnets", ("dino", "gfl"), {}, "the student's neck has 4 levels, the teacher's 3"),
        ("chen", ("dino", "dino"), {}, "needs assignments, which query models do not have"),
        (
            "hinton[standardise=true]",
            ("detr", "detr"),
            {},
            "standardise=true is for the logits of at least two",
        ),
    ],
)
def test_what_goes_together(bench, selector, kinds, edits, told):
    models = bench.subject(kinds[0]), with_edits(bench, kinds[1], "teacher", **edits)
    if told is None:
        together(bench, *models, selector)
        return
    with pytest.raises(UserError, match=told):
        together(bench, *models, selector)


def test_targets_need_as_many_layers(bench):
    from kdbench.openmmlab.training.distiller import Teacher

    found = seen(bench, "dino")
    teacher = Teacher(with_edits(bench, "dino", "teacher", **{"decoder.num_layers": 3}).build())
    arguments = found["inputs"], found["samples"], found["student"], found["raw"]
    assert len(teacher.captures(*arguments, frozenset({"queries"}))["queries"]) == 3
    with pytest.raises(UserError, match="the student's decoder has 2 layers, the teacher's 3: choose a pair"):
        teacher.captures(*arguments, frozenset({"query_targets"}))


def test_queries_of_another_kind_are_refused(bench):
    from kdbench.openmmlab.captures.families import captures_of

    found = seen(bench, "dino")
    student = copy.deepcopy(found["student"])
    student.bbox_head.__class__ = type("DDQDETRHead", (type(student.bbox_head),), {})
    captures_of(student, found["raw"], frozenset({"neck", "memory"}))
    with pytest.raises(
        UserError, match="cannot tell what the queries of a DDQDETRHead are for: choose a pair"
    ):
        captures_of(student, found["raw"], frozenset({"logits"}))


@pytest.mark.parametrize(
    ("names", "runs"),
    [
        ({"neck"}, {"backbone", "neck"}),
        ({"memory"}, {"backbone", "neck", "encoder"}),
        ({"logits"}, {"backbone", "neck", "encoder", "decoder", "bbox_head"}),
    ],
)
def test_only_the_needed_part_of_the_teacher_runs(bench, names, runs):
    found, ran = seen(bench, "dino"), set()
    teacher = found["teacher"]
    handles = [
        getattr(teacher, part).register_forward_hook(lambda *_, part=part: ran.add(part))
        for part in ("backbone", "neck", "encoder", "decoder", "bbox_head")
    ]
    bench.teacher("dino").captures(
        found["inputs"], found["samples"], found["student"], found["raw"], frozenset(names)
    )
    for handle in handles:
        handle.remove()
    assert ran == runs


@pytest.mark.parametrize("kind", ["dab-detr", "dino"])
def test_a_model_is_rehearsed_and_counted(bench, kind):
    from kdbench.openmmlab.checks.rehearsal import Untrained, check_model

    line = check_model("student", bench.subject(kind), bench.place("nowhere"), Untrained())
    assert line.startswith("student: mmdet::")
    assert re.search(r" \d\S* M parameters, [1-9]\S* M multiply-adds", line)


def test_multiply_adds_of_a_detr_by_hand(bench):
    """One more layer of the encoder: four products with C x C, two with all cells, and a hidden layer."""
    from kdbench.openmmlab.complexity import parameters_and_flops

    def counted(layers):
        subject = with_edits(bench, "detr", **{"encoder.num_layers": layers})
        return parameters_and_flops(subject.config(), subject.dataset, subject.schedule)[1]

    cells, channels, hidden = (IMAGE // 32) ** 2, CHANNELS["student"], 2048 * CHANNELS["student"] // 256
    expected = cells * (4 * channels**2 + 2 * cells * channels + 2 * channels * hidden)
    assert counted(2) - counted(1) == expected
