from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import entropy

from kdbench_papers.ld.losses import bins_divergence, localization_loss, valuable_region

LEVELS = (((6, 8), 8), ((3, 4), 16), ((1, 2), 32))
COUNTS = [height * width for (height, width), _ in LEVELS]


def anchors():
    """Return squares with a side of 4 strides, centred on each cell."""
    return np.array(
        [
            [(x - 1.5) * s, (y - 1.5) * s, (x + 2.5) * s, (y + 2.5) * s]
            for (height, width), s in LEVELS
            for y in range(height)
            for x in range(width)
        ]
    )


def overlap(one, other):
    """Return IoU and DIoU of two boxes."""
    width = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    height = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    iou = width * height / (sum(areas) - width * height)
    apart = sum(((one[i] + one[i + 2]) / 2 - (other[i] + other[i + 2]) / 2) ** 2 for i in (0, 1))
    around = sum((max(one[i + 2], other[i + 2]) - min(one[i], other[i])) ** 2 for i in (0, 1))
    return iou, iou - apart / around, apart


def reference(boxes, topk=9, low=0.25):
    """Compute the region one box and one anchor at a time."""
    found, priors = np.zeros(sum(COUNTS)), anchors()
    for box in boxes:
        pairs = [overlap(anchor, box) for anchor in priors]
        candidates, start = [], 0
        for count in COUNTS:
            level = sorted(range(start, start + count), key=lambda i: (pairs[i][2], i))[:topk]
            candidates += [pairs[i][0] for i in level]
            start += count
        threshold = np.mean(candidates) + np.std(candidates, ddof=1)
        for i, (iou, distance, _) in enumerate(pairs):
            if low * threshold <= distance < threshold:
                found[i] = max(found[i], iou)
    return found


# Centres off the anchors' lattice, so that no two anchors are equally near.
boxes_of = st.lists(
    st.tuples(st.integers(1, 55), st.integers(1, 40), st.integers(5, 50), st.integers(5, 50)), max_size=4
).map(
    lambda rows: np.array([[x + 0.13, y + 0.29, x + w + 0.3, y + h + 0.41] for x, y, w, h in rows]).reshape(
        -1, 4
    )
)


@settings(max_examples=40, deadline=None)
@given(boxes_of, st.sampled_from([(9, 0.25), (3, 0.5)]))
def test_the_region_equals_its_definition(boxes, numbers):
    found = valuable_region(torch.from_numpy(anchors()), torch.from_numpy(boxes), COUNTS, *numbers)
    np.testing.assert_allclose(found.numpy(), reference(boxes, *numbers), atol=1e-12)


def test_regions_of_little():
    nothing = torch.zeros(0, 4)
    box = torch.tensor([[4.0, 4.0, 20.0, 20.0]])
    assert not valuable_region(torch.from_numpy(anchors()), nothing, COUNTS).any()
    assert valuable_region(nothing, box, [0]).shape == (0,)
    assert valuable_region(box, box, [1]).tolist() == [0]  # the only candidate equals the threshold
    assert valuable_region(box + 4, box, [1]).tolist() == pytest.approx([9 / 23])  # its DIoU is below
    assert not valuable_region(box.half(), box, [1]).requires_grad


@pytest.mark.parametrize("temperature", [1.0, 10.0])
def test_losses_equal_their_definitions(temperature):
    draw = np.random.default_rng(0)
    ours, theirs = draw.normal(size=(2, 5, 4, 7)) * 5
    weights = draw.uniform(size=5)
    p, q = softmax(theirs / temperature, axis=2), softmax(ours / temperature, axis=2)
    rows = temperature**2 * entropy(p, q, axis=2)
    student, teacher = torch.from_numpy(ours), torch.from_numpy(theirs)
    found = bins_divergence(student.flatten(0, 1), teacher.flatten(0, 1), temperature)
    np.testing.assert_allclose(found.numpy(), rows.ravel())
    value = localization_loss(student, teacher, torch.from_numpy(weights), temperature)
    assert value.item() == pytest.approx((weights * rows.mean(axis=1)).sum())
    flat = localization_loss(student.flatten(1), teacher.flatten(1), torch.from_numpy(weights), temperature)
    torch.testing.assert_close(flat, value)


def test_bins_that_agree_up_to_a_constant_cost_nothing():
    teacher = torch.randn(3, 4, 8).double()
    value = localization_loss(teacher + torch.randn(3, 4, 1), teacher, torch.ones(3), 2.0)
    assert value.item() == pytest.approx(0, abs=1e-12)


def test_no_position_costs_nothing_and_the_weights_get_no_gradient():
    student, teacher = torch.randn(2, 4, 8).requires_grad_(), torch.randn(2, 4, 8)
    weights = torch.ones(2, requires_grad=True)
    localization_loss(student, teacher, weights, 2.0).backward()
    assert weights.grad is None
    assert localization_loss(student[:0].flatten(1), teacher[:0].flatten(1), weights[:0], 2.0).item() == 0
    with pytest.raises(ValueError, match="must be positive"):
        bins_divergence(student, teacher, 0.0)
