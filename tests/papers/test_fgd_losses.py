from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from kdbench_papers.fgd.losses import attention_distance, attentions, box_masks, focal_loss, global_loss

GRID, STRIDE = (5, 6), 8
sides = st.floats(1, 40, width=16)
corners = st.floats(0, 40, width=16)
boxes_of = st.lists(st.tuples(corners, corners, sides, sides), max_size=4).map(
    lambda rows: np.array([[x, y, x + w, y + h] for x, y, w, h in rows], dtype=np.float32).reshape(-1, 4)
)


def reference_masks(boxes):
    """Compute the masks one cell at a time."""
    foreground = np.zeros(GRID)
    for x1, y1, x2, y2 in boxes / STRIDE:
        left, top, right, bottom = math.floor(x1), math.floor(y1), math.ceil(x2), math.ceil(y2)
        weight = 1 / ((right + 1 - left) * (bottom + 1 - top))
        for y in range(GRID[0]):
            for x in range(GRID[1]):
                if left <= x <= right and top <= y <= bottom:
                    foreground[y, x] = max(foreground[y, x], weight)
    outside = foreground == 0
    return foreground, outside / max(outside.sum(), 1)


def masks_of(*boxes):
    return box_masks([torch.from_numpy(part) for part in boxes], GRID, STRIDE)


@settings(max_examples=60, deadline=None)
@given(st.lists(boxes_of, min_size=1, max_size=3))
def test_masks_equal_their_definition(boxes):
    foreground, background = masks_of(*boxes)
    for image, part in enumerate(boxes):
        expected = reference_masks(part)
        np.testing.assert_allclose(foreground[image].numpy(), expected[0], rtol=1e-6)
        np.testing.assert_allclose(background[image].numpy(), expected[1], rtol=1e-6)
        assert not (foreground[image].bool() & background[image].bool()).any()
        if background[image].any():
            assert background[image].sum().item() == pytest.approx(1)
        torch.testing.assert_close(masks_of(part[::-1].copy())[0][0], foreground[image])


def test_a_box_inside_another_changes_the_foreground_there_alone():
    outer = np.array([[0, 0, 31, 31]], dtype=np.float32)
    alone, background = masks_of(outer)
    both, same = masks_of(np.array([[0, 0, 31, 31], [8, 8, 12, 12]], dtype=np.float32))
    changed = (alone != both)[0].nonzero()
    assert changed.tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]
    assert both[0, 1, 1] == 1 / 4
    assert torch.equal(background, same)


def test_no_boxes_leave_the_background_alone():
    foreground, background = masks_of(np.zeros((0, 4), dtype=np.float32))
    assert not foreground.any()
    torch.testing.assert_close(background, torch.full((1, *GRID), 1 / 30))


def reference_attention(features, temperature):
    count, channels, height, width = features.shape
    cells = np.abs(features).mean(axis=1).reshape(count, -1) / temperature
    across = np.abs(features).mean(axis=(2, 3)) / temperature
    spatial = height * width * softmax(cells, axis=1)
    return spatial.reshape(count, height, width), channels * softmax(across, axis=1)


@pytest.mark.parametrize("temperature", [0.5, 3.0])
def test_losses_equal_their_definitions(temperature):
    draw = np.random.default_rng(0)
    ours, theirs = draw.normal(size=(2, 2, 3, 4, 5))
    foreground, background = draw.uniform(size=(2, 2, 4, 5))
    spatial, across = reference_attention(theirs, temperature)
    expected = {"foreground": 0.0, "background": 0.0}
    for n, c, y, x in np.ndindex(ours.shape):
        square = spatial[n, y, x] * across[n, c] * (theirs[n, c, y, x] - ours[n, c, y, x]) ** 2 / 2
        expected["foreground"] += foreground[n, y, x] * square
        expected["background"] += background[n, y, x] * square
    student, teacher = torch.from_numpy(ours), torch.from_numpy(theirs)
    found = attentions(teacher, temperature)
    np.testing.assert_allclose(found[0].numpy(), spatial)
    np.testing.assert_allclose(found[1].numpy(), across)
    masks = torch.from_numpy(foreground), torch.from_numpy(background)
    parts = focal_loss(student, teacher, *masks, temperature)
    assert [part.item() for part in parts] == pytest.approx(list(expected.values()))
    own = reference_attention(ours, temperature)
    distance = (np.abs(own[0] - spatial).sum() + np.abs(own[1] - across).sum()) / 2
    assert attention_distance(student, teacher, temperature).item() == pytest.approx(distance)


def test_an_infinite_temperature_is_no_attention():
    maps = torch.randn(2, 3, 4, 5)
    assert all(torch.allclose(part, torch.ones(())) for part in attentions(maps, math.inf))
    with pytest.raises(ValueError, match="must be positive"):
        attentions(maps, 0.0)


def test_the_global_loss_teaches_both_sides_blocks():
    student, teacher = (torch.randn(2, 3, 4, 5).double().requires_grad_() for _ in range(2))
    value = global_loss(student, teacher)
    value.backward()
    assert value.item() == pytest.approx(((student - teacher) ** 2).sum().item() / 2)
    torch.testing.assert_close(student.grad, (student - teacher).detach())
    torch.testing.assert_close(teacher.grad, -student.grad)
    assert global_loss(torch.zeros(0, 3, 4, 4), torch.zeros(0, 3, 4, 4)).item() == 0
    with pytest.raises(ValueError, match="differ in shape"):
        global_loss(student, teacher[:1])
