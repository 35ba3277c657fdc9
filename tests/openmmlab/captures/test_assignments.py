"""What each head is trained on: the head's own loss comes out of it again, and the teacher is asked there."""

from __future__ import annotations

import copy
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from small_bench import family_of
from torch.nn import functional

from kdbench.distill.captures import detached, rows_of, shapes_of
from kdbench.distill.randomness import seeded
from kdbench.errors import UserError

CLASSES = 10
CELL = {"faster": 3, "retinanet": 9, "gfl": 1, "fcos": 1, "ssd": 6, "atss": 1}
"""Anchors of a cell."""
HEADS = [("faster", "rpn"), ("faster", "roi")]
HEADS += [(kind, "head") for kind in ("retinanet", "gfl", "fcos", "ssd", "atss")]
NAMES = {
    "two-stage": ("rpn_targets", "roi_targets", "assignments", "rpn", "rois", "roi_logits", "roi_boxes"),
    "dense": ("head_targets", "assignments", "head"),
}


def decoded_targets(model: Any) -> None:
    """Heads that are trained on decoded boxes, as with an IoU loss, although here with L1."""
    model.rpn_head.reg_decoded_bbox = model.roi_head.bbox_head.reg_decoded_bbox = True


def pixels(model: Any) -> None:
    model.bbox_head.norm_on_bbox = False


CHANGES = {"decoded": ("faster", decoded_targets), "pixels": ("fcos", pixels)}


@cache
def seen(bench: Any, name: str) -> Any:
    """A training forward of a student, kind or one of ``CHANGES``, with the assignments of both models."""
    from kdbench.openmmlab.captures.families import captures_of, recording

    kind, change = CHANGES.get(name, (name, lambda model: None))
    names = frozenset(NAMES[family_of(kind)])
    student, teacher = bench.subject(kind).build().train(), copy.copy(bench.teacher(kind))
    teacher.model = copy.deepcopy(teacher.model)
    change(student)
    change(teacher.model)
    inputs, samples = bench.probe(kind).batch(student)
    with seeded("test"), recording(student) as raw:
        losses = student(inputs, samples, mode="loss")
    own = captures_of(student, raw, names)
    theirs = teacher.captures(inputs, samples, student, raw, names)
    given = {"inputs": inputs, "samples": samples, "losses": losses, "raw": raw}
    return SimpleNamespace(student=student, teacher=teacher, own=own, theirs=theirs, **given)


def total(losses: Any, name: str) -> torch.Tensor:
    value = losses[name]
    return value if isinstance(value, torch.Tensor) else torch.stack([part.sum() for part in value]).sum()


def one_hot(labels: torch.Tensor) -> torch.Tensor:
    return functional.one_hot(labels, CLASSES + 1)[:, :CLASSES].float()


def distance_boxes(distances: torch.Tensor) -> torch.Tensor:
    """Boxes around the origin from left, top, right, bottom."""
    return torch.cat([-distances[:, :2], distances[:, 2:]], dim=1)


def matching_ious(boxes: torch.Tensor, targets: torch.Tensor, generalized: bool) -> torch.Tensor:
    from torchvision.ops import box_iou, generalized_box_iou

    measure = generalized_box_iou if generalized else box_iou
    return measure(distance_boxes(boxes), distance_boxes(targets)).diagonal()


def generalized_ious(boxes: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    from torchvision.ops import generalized_box_iou

    return generalized_box_iou(boxes, targets).diagonal()


def test_the_rpns_own_losses_come_out_again(bench):
    found = seen(bench, "faster")
    rpn = found.own["rpn_targets"]
    assert rpn.activation == "sigmoid"
    assert rpn.logits.shape == (len(rpn.labels), 1)
    assert 0 < len(rpn.positive) < len(rpn.labels) <= 2 * 64
    assert torch.equal(rpn.positive, (rpn.labels == 0).nonzero().squeeze(1))
    hard = functional.binary_cross_entropy_with_logits(rpn.logits[:, 0], 1.0 - rpn.labels)
    torch.testing.assert_close(hard, total(found.losses, "loss_rpn_cls"))
    absolute = (rpn.boxes - rpn.targets).abs().sum() / len(rpn.labels)
    torch.testing.assert_close(absolute, total(found.losses, "loss_rpn_bbox"))


def test_the_roi_heads_own_losses_come_out_again(bench):
    found = seen(bench, "faster")
    roi = found.own["roi_targets"]
    assert roi.activation == "softmax"
    assert torch.equal(roi.logits, found.own["roi_logits"])
    assert 0 < len(roi.positive) < len(roi.labels) == len(found.own["rois"])
    torch.testing.assert_close(functional.cross_entropy(roi.logits, roi.labels), found.losses["loss_cls"])
    absolute = (roi.boxes - roi.targets).abs().sum() / len(roi.labels)
    torch.testing.assert_close(absolute, found.losses["loss_bbox"])


def focal(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    p = logits.sigmoid()
    return -(0.25 * truth * (1 - p) ** 2 * p.log() + 0.75 * (1 - truth) * p**2 * (1 - p).log()).sum()


def test_retinanets_own_losses_come_out_again(bench):
    found = seen(bench, "retinanet")
    head = found.own["head_targets"]
    rows = sum(len(level) * level[0, 0].numel() * 9 for level in found.own["head"].boxes)
    assert 0 < len(head.positive) < len(head.labels) < rows  # the rest is ignored
    loss = focal(head.logits, one_hot(head.labels)) / len(head.positive)
    torch.testing.assert_close(loss, total(found.losses, "loss_cls"))
    absolute = (head.boxes - head.targets).abs().sum() / len(head.positive)
    torch.testing.assert_close(absolute, total(found.losses, "loss_bbox"))


def test_ssds_own_losses_come_out_again(bench):
    """Its loss is of the positives and of three times as many hard negatives an image, not of all anchors."""
    found = seen(bench, "ssd")
    head = found.own["head_targets"]
    assert head.activation == "softmax"
    assert len(head.positive) > 0
    assert len(head.labels) == 4 * len(head.positive)
    total_loss = functional.cross_entropy(head.logits, head.labels, reduction="sum")
    torch.testing.assert_close(total_loss / len(head.positive), total(found.losses, "loss_cls"))
    smooth = functional.smooth_l1_loss(head.boxes, head.targets, reduction="sum")
    torch.testing.assert_close(smooth / len(head.positive), total(found.losses, "loss_bbox"))


def test_atss_own_losses_come_out_again(bench):
    """Its boxes are deltas, although it is trained on decoded ones."""
    from kdbench.openmmlab.captures.assignments import _anchors

    found = seen(bench, "atss")
    head, own = found.own["head_targets"], found.student.bbox_head
    loss = focal(head.logits, one_hot(head.labels)) / len(head.positive)
    torch.testing.assert_close(loss, total(found.losses, "loss_cls"))
    where = found.raw["head_training"].positions
    anchors = _anchors(own, found.own["head"].boxes)[where.rows[where.positive]]
    boxes, targets = (own.bbox_coder.decode(anchors, deltas) for deltas in (head.boxes, head.targets))
    weight = own.centerness_target(anchors, targets)
    giou = generalized_ious(boxes, targets)
    torch.testing.assert_close(
        2 * (weight * (1 - giou)).sum() / weight.sum(), total(found.losses, "loss_bbox")
    )


def test_gfls_own_losses_come_out_again(bench):
    found = seen(bench, "gfl")
    head = found.own["head_targets"]
    assert 0 < len(head.positive) < len(head.labels)
    assert bool((head.targets >= 0).all())
    weight = head.logits[head.positive].sigmoid().amax(dim=1).detach()
    giou = matching_ious(head.boxes, head.targets, generalized=True)
    loss = 2 * (weight * (1 - giou)).sum() / weight.sum().clamp(min=1)
    torch.testing.assert_close(loss, total(found.losses, "loss_bbox"))
    quality = torch.zeros_like(head.logits)
    iou = matching_ious(head.boxes, head.targets, generalized=False).detach()
    quality[head.positive, head.labels[head.positive]] = iou
    p = head.logits.sigmoid()
    entropy = functional.binary_cross_entropy(p, quality, reduction="none")
    sampled = 2 * found.own["head"].boxes[0][0, 0].numel()
    assert len(head.labels) > sampled
    loss = (entropy * (p - quality) ** 2).sum() / len(head.positive)
    torch.testing.assert_close(loss, total(found.losses, "loss_cls"))


@pytest.mark.parametrize("name", ["fcos", "pixels"])
def test_fcos_own_losses_come_out_again(bench, name):
    """Also of a head that is trained on pixels: what it gives is a part of the box all the same."""
    found = seen(bench, name)
    head = found.own["head_targets"]
    assert found.student.bbox_head.norm_on_bbox == (name == "fcos")
    assert len(head.labels) == sum(len(level) * level[0, 0].numel() for level in found.own["head"].boxes)
    assert 0 < len(head.positive) < len(head.labels)
    torch.testing.assert_close(head.targets[:, :2] + head.targets[:, 2:], torch.ones(len(head.positive), 2))
    loss = focal(head.logits, one_hot(head.labels)) / len(head.positive)
    torch.testing.assert_close(loss, total(found.losses, "loss_cls"))
    x, y = head.targets[:, 0::2], head.targets[:, 1::2]
    inside = [side.amin(dim=1) / side.amax(dim=1) for side in (x, y)]
    weight = (inside[0] * inside[1]).sqrt()
    iou = matching_ious(head.boxes, head.targets, generalized=False).clamp(min=1e-6)
    torch.testing.assert_close(-(weight * iou.log()).sum() / weight.sum(), found.losses["loss_bbox"])


def test_distances_are_parts_of_the_box_either_way(bench):
    strides, pixel = seen(bench, "fcos").own["head_targets"], seen(bench, "pixels").own["head_targets"]
    torch.testing.assert_close(strides.targets, pixel.targets)
    assert torch.equal(strides.labels, pixel.labels)


@pytest.mark.parametrize("name", ["rpn_targets", "roi_targets"])
def test_decoded_targets_are_encoded(bench, name):
    """A head that is trained on boxes gives the same encoded targets as one that is trained on deltas."""
    found = seen(bench, "decoded").own[name]
    assert len(found.positive) > 0
    if name == "rpn_targets":  # the RoIs follow from the random state after it, which is the same
        plain = seen(bench, "faster").own[name]
        torch.testing.assert_close(found.targets, plain.targets, rtol=1e-4, atol=1e-4)
        assert torch.equal(found.boxes, plain.boxes)
    assert float(found.targets.abs().max()) < 12


def cell_of(kind: str, levels: Any, row: int) -> tuple[int, int, int, int, int]:
    """Level, image, anchor, y, x of a row, counted by hand."""
    for index, level in enumerate(levels):
        images, _, height, width = level.shape
        for image in range(images):
            count = height * width * CELL[kind]
            if row < count:
                y, rest = divmod(row, width * CELL[kind])
                x, anchor = divmod(rest, CELL[kind])
                return index, image, anchor, y, x
            row -= count
    raise AssertionError(row)


@pytest.mark.parametrize(("kind", "name"), [pair for pair in HEADS if pair[1] != "roi"])
def test_both_models_are_asked_at_the_same_cells(bench, kind, name):
    found = seen(bench, kind)
    where = found.raw[f"{name}_training"].positions
    rows = where.rows.tolist()
    for side in (found.own, found.theirs):
        whole, given = side[name], side[f"{name}_targets"]
        width = given.logits.shape[1]
        for position in np.random.default_rng(0).integers(0, len(rows), 20):
            level, image, a, y, x = cell_of(kind, whole.logits, rows[position])
            expected = whole.logits[level][image, a * width : (a + 1) * width, y, x]
            assert torch.equal(given.logits[position], expected)
        for index, position in enumerate(given.positive.tolist()):
            level, image, a, y, x = cell_of(kind, whole.logits, rows[position])
            numbers = whole.boxes[level][image, :, y, x].unflatten(0, (CELL[kind], -1))[a]
            if kind == "gfl":
                numbers = (numbers.view(4, 17).softmax(1) * torch.arange(17)).sum(1)
            sides = 1.0 if where.sides is None else where.sides[index]
            torch.testing.assert_close(given.boxes[index], numbers / sides)


@pytest.mark.parametrize(("kind", "name"), HEADS)
def test_the_teacher_has_the_students_labels_and_its_own_words(bench, kind, name):
    found = seen(bench, kind)
    own, theirs = (side[f"{name}_targets"] for side in (found.own, found.theirs))
    for field in ("labels", "positive", "targets"):
        assert getattr(own, field) is getattr(theirs, field)
        assert not getattr(own, field).requires_grad
    assert own.logits.requires_grad
    assert own.boxes.requires_grad
    assert not theirs.logits.requires_grad
    assert not theirs.boxes.requires_grad
    assert own.logits.shape == theirs.logits.shape
    assert own.boxes.shape == theirs.boxes.shape == own.targets.shape == (len(own.positive), 4)
    assert not torch.equal(own.logits, theirs.logits)
    assert own.activation == theirs.activation
    assert shapes_of(own) == (tuple(own.logits.shape), tuple(own.boxes.shape))
    free = detached(own)
    assert torch.equal(free.boxes, own.boxes)
    assert not free.logits.requires_grad
    assert not free.boxes.requires_grad


@pytest.mark.parametrize(("kind", "names"), [("faster", ["rpn", "roi"]), ("gfl", ["head"])])
def test_assignments_are_those_of_the_family(bench, kind, names):
    found = seen(bench, kind)
    for side in (found.own, found.theirs):
        assert list(side["assignments"]) == names
        for name in names:
            assert torch.equal(side["assignments"][name].logits, side[f"{name}_targets"].logits)
        assert shapes_of(side["assignments"]) == sum((shapes_of(side[f"{n}_targets"]) for n in names), ())
        assert not detached(side["assignments"])[names[0]].logits.requires_grad


def test_the_teachers_rois_are_the_students(bench):
    found = seen(bench, "faster")
    roi = found.theirs["roi_targets"]
    assert torch.equal(roi.logits, found.theirs["roi_logits"])
    assert torch.equal(roi.boxes, found.theirs["roi_boxes"][roi.positive])


@pytest.mark.parametrize("kind", ["retinanet", "gfl", "fcos"])
def test_rows_point_into_the_heads_maps(bench, kind):
    found = seen(bench, kind)
    for side in (found.own, found.theirs):
        where = side["head_targets"]
        everything = rows_of(side["head"].logits, CLASSES)
        assert torch.equal(everything[where.rows], where.logits)
        assert where.weights.tolist() == [1] * len(where.rows)
        assert where.normaliser.item() == max(1, len(where.positive))
        logits = side["head"].logits[0]
        assert torch.equal(everything[CELL[kind]], logits[0, :CLASSES, 0, 1])


@pytest.mark.parametrize("kind", ["faster", "retinanet", "gfl", "fcos", "ssd"])
def test_images_without_boxes(bench, kind):
    from kdbench.openmmlab.captures.families import captures_of, recording

    student = bench.subject(kind).build().train()
    inputs, samples = bench.probe(kind).batch(student)
    for sample in samples:
        sample.gt_instances = sample.gt_instances[:0]
    with seeded("test"), recording(student) as raw:
        student(inputs, samples, mode="loss")
    for found in captures_of(student, raw, frozenset({"assignments"}))["assignments"].values():
        assert (len(found.labels) > 0) == (kind != "ssd")  # which then counts no negative either
        assert found.positive.shape == (0,)
        assert found.boxes.shape == found.targets.shape == (0, 4)
        found.boxes.sum().backward(retain_graph=True)


def test_own_class_boxes():
    from kdbench.openmmlab.captures.assignments import own_class_boxes

    boxes = torch.randn(5, 12, requires_grad=True)
    labels = torch.tensor([2, 0, 1, 1, 2])
    found = own_class_boxes(boxes, labels)
    expected = torch.stack([row[4 * label : 4 * label + 4] for row, label in zip(boxes, labels, strict=True)])
    assert torch.equal(found, expected)
    found.sum().backward()
    assert int((boxes.grad != 0).sum()) == 20
    assert own_class_boxes(boxes[:, :4], labels) is not None
    assert torch.equal(own_class_boxes(boxes[:, :4], labels), boxes[:, :4])
    assert own_class_boxes(boxes[:0], labels[:0]).shape == (0, 4)


def test_a_roi_head_with_a_regression_for_each_class(bench):
    """Its own loss comes out again, of the labels' own rows."""
    from kdbench.openmmlab.captures.families import captures_of, recording

    student = bench.subject("faster").build().train()
    head = student.roi_head.bbox_head
    head.reg_class_agnostic = False
    head.fc_reg = torch.nn.Linear(head.fc_reg.in_features, 4 * CLASSES)
    inputs, samples = bench.probe("faster").batch(student)
    with seeded("test"), recording(student) as raw:
        losses = student(inputs, samples, mode="loss")
    roi = captures_of(student, raw, frozenset({"roi_targets"}))["roi_targets"]
    assert len(roi.positive) > 0
    absolute = (roi.boxes - roi.targets).abs().sum() / len(roi.labels)
    torch.testing.assert_close(absolute, losses["loss_bbox"])


def asked(bench: Any, kind: str, change: Any, name: str) -> Any:
    """The teacher's assignment after a change of it."""
    found = seen(bench, kind)
    teacher = copy.copy(found.teacher)
    teacher.model = copy.deepcopy(teacher.model)
    change(teacher.model)
    return teacher.captures(found.inputs, found.samples, found.student, found.raw, frozenset({name}))


def other_anchors(model: Any) -> None:
    generator = model.rpn_head.prior_generator
    generator.base_anchors = [2 * base for base in generator.base_anchors]


def other_deltas(model: Any) -> None:
    model.bbox_head.bbox_coder.stds = (0.1, 0.1, 0.2, 0.2)


def fewer_classes(model: Any) -> None:
    head = model.bbox_head
    head.cls_out_channels = 5
    head.gfl_cls = torch.nn.Conv2d(head.gfl_cls.in_channels, 5, 3, padding=1)


@pytest.mark.parametrize(
    ("kind", "change"), [("faster", other_anchors), ("retinanet", other_deltas), ("gfl", fewer_classes)]
)
def test_heads_that_do_not_line_up_are_refused(bench, kind, change):
    with pytest.raises(
        UserError, match="cannot be compared position by position: choose a pair with the same"
    ):
        asked(bench, kind, change, "assignments")


@pytest.mark.parametrize("field", ["stds", "classes"])
def test_roi_heads_that_differ_are_refused(bench, field):
    def change(model: Any) -> None:
        if field == "stds":
            model.roi_head.bbox_head.bbox_coder.stds = (1.0, 1.0, 1.0, 1.0)
        else:
            model.roi_head.bbox_head.num_classes = 3

    with pytest.raises(UserError, match="RoI heads of student and teacher"):
        asked(bench, "faster", change, "roi_targets")


@pytest.mark.parametrize("method", ["get_targets", "loss_by_feat"])
def test_a_head_whose_targets_are_not_understood_is_refused(bench, method):
    """One that makes targets of its own, and one that asks for none."""
    from kdbench.openmmlab.captures.families import captures_of, recording

    student = bench.subject("retinanet").build().train()
    kind = type(student.bbox_head)

    class Other(kind):
        if method == "get_targets":

            def get_targets(self, *args, **kwargs):
                return super().get_targets(*args, **kwargs)

        else:

            def loss_by_feat(self, scores, boxes, *args, **kwargs):
                return {"loss_cls": scores[0].sum()}

    student.bbox_head.__class__ = Other
    inputs, samples = bench.probe("retinanet").batch(student)
    with seeded("test"), recording(student) as raw:
        student(inputs, samples, mode="loss")
    told = "cannot see what a Other is trained on" if method == "get_targets" else "chose no targets"
    with pytest.raises(UserError, match=told):
        captures_of(student, raw, frozenset({"head_targets"}))
    assert set(captures_of(student, raw, frozenset({"head"}))) == {"head"}
