"""Matching of the teacher's queries to the student's."""

from __future__ import annotations

import itertools

import pytest
import torch

from kdbench.distill.queries import matched_queries
from kdbench.distill.randomness import generator


def drawn(queries: int, classes: int = 3, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return random logits and boxes of two images."""
    draws = generator("cpu", seed)
    logits = torch.randn(2, queries, classes, generator=draws)
    return logits, 0.1 + 0.8 * torch.rand(2, queries, 4, generator=draws)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_the_same_predictions_in_another_order_are_found(activation):
    logits, boxes = drawn(9)
    orders = torch.stack([torch.randperm(9, generator=generator("cpu", seed)) for seed in (1, 2)])
    images = torch.arange(2)[:, None]
    ours = logits[images, orders], boxes[images, orders]
    assert torch.equal(matched_queries((ours[0], logits), (ours[1], boxes), activation), orders)


def test_a_teacher_with_more_queries_keeps_the_nearest_ones():
    logits, boxes = drawn(9)
    found = matched_queries((logits[:, [7, 2]], logits), (boxes[:, [7, 2]], boxes), "softmax")
    assert found.tolist() == [[7, 2], [7, 2]]


def test_the_sum_of_the_costs_is_the_smallest():
    """Compare with all orders of four queries, with DETR's costs computed by hand."""
    from torchvision.ops import box_convert, generalized_box_iou

    (ours, our_boxes), (theirs, their_boxes) = drawn(4), drawn(4, seed=1)
    found = matched_queries((ours, theirs), (our_boxes, their_boxes), "softmax")
    for image in range(2):
        scores = (ours[image].softmax(1)[:, None] - theirs[image].softmax(1)[None]).abs().sum(2)
        places = (our_boxes[image][:, None] - their_boxes[image][None]).abs().sum(2)
        corners = [box_convert(part[image], "cxcywh", "xyxy") for part in (our_boxes, their_boxes)]
        cost = scores + 5 * places + 2 * (1 - generalized_box_iou(*corners))
        best = min(itertools.permutations(range(4)), key=lambda order: float(cost[range(4), order].sum()))
        assert found[image].tolist() == list(best)


def test_boxes_decide_between_equal_classes_and_classes_between_equal_boxes():
    boxes = torch.tensor([[[0.2, 0.2, 0.1, 0.1], [0.8, 0.8, 0.1, 0.1]]])
    logits = torch.tensor([[[4.0, 0.0], [0.0, 4.0]]])
    alike, here = torch.zeros_like(logits), boxes[:, :1].expand(-1, 2, -1)
    assert matched_queries((alike, alike), (boxes, boxes.flip(1)), "softmax").tolist() == [[1, 0]]
    assert matched_queries((logits, logits.flip(1)), (here, here), "softmax").tolist() == [[1, 0]]


def test_what_is_not_a_number_is_left_to_the_losses():
    logits, boxes = drawn(4)
    found = matched_queries((logits * float("nan"), logits), (boxes, boxes), "sigmoid")
    assert sorted(found[0].tolist()) == [0, 1, 2, 3]
