"""Reordered and mirrored batches, compared with values computed by hand."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from kdbench.conformance.batches import HORIZONTAL, VERTICAL, copied, mirror_kernels, mirrored, reordered
from kdbench.conformance.models import MODELS
from kdbench.distill import FAMILIES, Assignment, Logits, Predictions, Step, Targets
from kdbench.distill.captures import tensors_of

IMAGE = (16, 32)
SWAP = (1, 0, 2)


def step(captures=None, **more):
    neck = (torch.arange(3 * 2 * 2 * 4.0).view(3, 2, 2, 4),)
    values = {"neck": neck, **(captures or {})}
    boxes = tuple(torch.tensor([[1.0 + image, 2, 9, 8]]) for image in range(3))
    targets = Targets(boxes, tuple(torch.tensor([image]) for image in range(3)), None, IMAGE)
    return Step(values, dict(values), more.pop("targets", targets), torch.zeros(3, 3, *IMAGE), 0, 1)


def test_images_change_places_with_all_that_is_theirs():
    masks = Targets((), (), torch.arange(3).view(3, 1, 1).expand(3, *IMAGE), IMAGE)
    found = reordered(step({"proposals": [torch.full((1, 5), float(i)) for i in range(3)]}), SWAP)
    assert [float(boxes[0, 0]) for boxes in found.targets.boxes] == [2, 1, 3]
    assert [int(labels) for labels in found.targets.labels] == [1, 0, 2]
    assert [float(part[0, 0]) for part in found.student["proposals"]] == [1, 0, 2]
    assert torch.equal(found.teacher["neck"][0][0], step().teacher["neck"][0][1])
    assert reordered(step(targets=masks), SWAP).targets.masks[:, 0, 0].tolist() == [1, 0, 2]


def assignment(count, rows, *positive):
    """Make an assignment whose row k has logits and label k, and whose n-th positive has box n."""
    values, boxes = torch.arange(float(count)), torch.arange(float(len(positive)))[:, None].expand(-1, 4)
    return Assignment(
        logits=values[:, None],
        activation="softmax",
        labels=values.long(),
        positive=torch.tensor(positive),
        boxes=boxes,
        targets=boxes,
        rows=torch.tensor(rows),
        weights=values,
        normaliser=torch.tensor(1.0),
    )


def test_rows_of_rois_follow_their_images():
    rois = torch.tensor([[0.0, 1, 1, 2, 2], [1, 3, 3, 4, 4], [1, 5, 5, 6, 6], [2, 7, 7, 8, 8]])
    rows = torch.arange(4.0)[:, None]
    targets = assignment(4, [0, 1, 2, 3], 0, 3)
    captures = {
        "rois": rois,
        "roi_logits": rows,
        "logits": Logits((rows,), "softmax"),
        "roi_targets": targets,
    }
    found = reordered(step(captures), SWAP).student
    assert found["rois"][:, :2].tolist() == [[0, 3], [0, 5], [1, 1], [2, 7]]
    assert found["roi_logits"].flatten().tolist() == [1, 2, 0, 3]
    assert found["logits"].values[0].flatten().tolist() == [1, 2, 0, 3]
    moved = found["roi_targets"]
    assert moved.labels.tolist() == moved.weights.tolist() == [1, 2, 0, 3]
    assert (moved.positive.tolist(), moved.boxes[:, 0].tolist()) == ([2, 3], [0, 1])
    assert moved.rows.tolist() == [0, 1, 2, 3]


def test_positions_of_a_head_follow_their_images_and_cells():
    anchors = {"anchors": [torch.zeros(2 * 4 * 2, 4)]}  # two to a cell
    cells = 2 * 4 * 2
    targets = assignment(3, [1, cells + 3, 2 * cells], 1)
    moved = reordered(step({**anchors, "head_targets": targets}), SWAP).student["head_targets"]
    assert moved.rows.tolist() == [3, cells + 1, 2 * cells]
    assert moved.labels.tolist() == [1, 0, 2]
    assert (moved.positive.tolist(), moved.boxes[:, 0].tolist()) == ([0], [0])
    across = mirrored(step({**anchors, "head_targets": targets}), HORIZONTAL).student["head_targets"]
    assert across.rows.tolist() == [7, cells + 5, 2 * cells + 6]
    down = mirrored(step({**anchors, "head_targets": targets}), VERTICAL).student["head_targets"]
    assert down.rows.tolist() == [9, cells + 11, 2 * cells + 8]


def test_a_copy_can_be_spoilt():
    before = step({"anchors": [torch.ones(8, 4)]})
    found = copied(before)
    found.student["neck"][0].zero_()
    found.student["anchors"][0].zero_()
    found.targets.boxes[0].zero_()
    assert before.student["neck"][0].any()
    assert before.student["anchors"][0].all()
    assert before.targets.boxes[0].any()


def test_boxes_and_maps_are_mirrored_within_the_image():
    found = mirrored(step(), HORIZONTAL)
    assert found.targets.boxes[0].tolist() == [[23, 2, 31, 8]]
    assert torch.equal(found.student["neck"][0], step().student["neck"][0].flip(-1))
    assert mirrored(step(), VERTICAL).targets.boxes[0].tolist() == [[1, 8, 9, 14]]


def test_anchors_stay_in_the_order_of_the_cells():
    corners = torch.tensor([[8.0 * x, 8.0 * y, 8.0 * x + 8, 8.0 * y + 8] for y in range(2) for x in range(4)])
    for axis in (HORIZONTAL, VERTICAL):
        assert torch.equal(mirrored(step({"anchors": [corners]}), axis).student["anchors"][0], corners)


def test_encoded_boxes_are_those_of_mirrored_boxes():
    ones = torch.tensor([[1.0, 2, 3, 4]])
    deltas = dataclasses.replace(assignment(1, [0], 0), boxes=ones, targets=ones)
    captures = {
        "anchors": [torch.zeros(8, 4)],
        "roi_boxes": ones,
        "rpn_targets": deltas,
        "head_targets": deltas,
        "rpn": Predictions((), (ones.view(1, 4, 1, 1),)),
        "head": Predictions((), (ones.view(1, 4, 1, 1),)),
    }
    found = mirrored(step(captures), HORIZONTAL).student
    assert found["roi_boxes"].tolist() == found["rpn_targets"].targets.tolist() == [[-1, 2, 3, 4]]
    assert found["head_targets"].boxes.tolist() == [[3, 2, 1, 4]]
    assert found["rpn"].boxes[0].flatten().tolist() == [-1, 2, 3, 4]
    assert found["head"].boxes[0].flatten().tolist() == [3, 2, 1, 4]
    assert mirrored(step(captures), VERTICAL).student["head_targets"].boxes.tolist() == [[1, 4, 3, 2]]


@pytest.mark.parametrize("axis", [HORIZONTAL, VERTICAL])
def test_mirrored_kernels_give_the_mirrored_map(axis):
    torch.manual_seed(0)
    plain = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3, stride=2, padding=1), torch.nn.MaxPool2d(3, 2))
    other = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3, stride=2, padding=1), torch.nn.MaxPool2d(3, 2))
    other.load_state_dict(plain.state_dict())
    mirror_kernels(other, axis)
    maps = torch.randn(1, 2, 16, 16)
    torch.testing.assert_close(other(maps.flip(axis)), plain(maps).flip(axis))


def test_every_family_is_recorded_whole_and_mirrored_twice_is_itself(bench):
    for family in MODELS:
        names = FAMILIES[family]
        recorded = bench.recorded(family).step
        assert recorded.student.keys() == names
        assert len(recorded.images) == 3
        for axis in (HORIZONTAL, VERTICAL):
            again = mirrored(mirrored(recorded, axis), axis)
            for name in names - {"anchors"}:
                pairs = zip(tensors_of(recorded.student[name]), tensors_of(again.student[name]), strict=True)
                for one, two in pairs:
                    torch.testing.assert_close(one, two)
