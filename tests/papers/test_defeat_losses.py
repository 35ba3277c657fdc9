from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import entropy

from kdbench_papers.defeat.losses import decoupled_feature_loss, decoupled_head_loss, object_masks

GRIDS, STRIDES = [(16, 20), (8, 10), (4, 5)], [4, 8, 16]
boxes_of = st.lists(
    st.tuples(st.floats(0, 70), st.floats(0, 60), st.floats(1, 300), st.floats(1, 300)), max_size=4
).map(lambda rows: np.array([[x, y, x + w, y + h] for x, y, w, h in rows], dtype=np.float32).reshape(-1, 4))


@settings(max_examples=40, deadline=None)
@given(st.lists(boxes_of, min_size=1, max_size=2), st.integers(0, 1))
def test_masks_equal_their_definition(boxes, first):
    grids, strides = GRIDS[first:], STRIDES[first:]
    expected = [np.zeros((len(boxes), *grid), dtype=bool) for grid in grids]
    for image, part in enumerate(boxes):
        for x1, y1, x2, y2 in part:
            octave = math.floor(math.log2(math.sqrt((x2 - x1 + 1) * (y2 - y1 + 1)) / 56))
            level = min(max(octave - first, 0), len(grids) - 1)
            (height, width), stride = grids[level], strides[level]
            top, left = min(int(y1 / stride), height - 1), min(int(x1 / stride), width - 1)
            bottom, right = max(int(y2 / stride), top + 1), max(int(x2 / stride), left + 1)
            expected[level][image, top:bottom, left:right] = True
    found = object_masks([torch.from_numpy(part) for part in boxes], grids, strides)
    for mask, truth in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mask.numpy(), truth)


def test_features_equal_their_definition():
    draw = np.random.default_rng(0)
    ours, theirs = draw.normal(size=(2, 2, 3, 4, 5))
    mask = draw.uniform(size=(2, 4, 5)) > 0.6
    squares = ((ours - theirs) ** 2).transpose(0, 2, 3, 1)
    found = decoupled_feature_loss(*(torch.from_numpy(part) for part in (ours, theirs, mask)))
    assert [part.item() for part in found] == pytest.approx(
        [squares[side].mean() / 2 for side in (mask, ~mask)]
    )


def test_a_full_and_an_empty_mask():
    student, teacher = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    half = (student - teacher).square().mean().item() / 2
    for mask, expected in ((torch.ones(2, 4, 5), [half, 0]), (torch.zeros(2, 4, 5).bool(), [0, half])):
        found = decoupled_feature_loss(student, teacher, mask)
        assert [part.item() for part in found] == pytest.approx(expected)


def test_heads_equal_their_definition():
    draw = np.random.default_rng(0)
    ours, theirs = draw.normal(size=(2, 6, 4)) * 2
    labels = np.array([0, 3, 2, 3, 3, 1])
    rows = 4 * entropy(softmax(theirs / 2, axis=1), softmax(ours / 2, axis=1), axis=1)
    given_ = [torch.from_numpy(part) for part in (ours, theirs, labels)]
    found = decoupled_head_loss(*given_, 3, 2.0)
    expected = [rows[labels != 3].mean(), rows[labels == 3].mean()]
    assert [part.item() for part in found] == pytest.approx(expected)
    empty = decoupled_head_loss(given_[0], given_[1], torch.full((6,), 3), 3, 2.0)
    assert empty[0].item() == 0
    assert empty[1].item() == pytest.approx(rows.mean())
