from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import softmax

from kdbench_papers.fbkd.losses import norm_loss, spatial_mask


def test_the_mask_and_the_norm_equal_their_definitions():
    draw = np.random.default_rng(0)
    ours, theirs = draw.normal(size=(2, 3, 4, 5)), draw.normal(size=(2, 6, 4, 5))
    attention = [
        20 * softmax(np.abs(part).mean(axis=1).reshape(2, -1) / 0.5, axis=1).reshape(2, 4, 5)
        for part in (ours, theirs)
    ]
    student = torch.from_numpy(ours).requires_grad_()
    mask = spatial_mask(student, torch.from_numpy(theirs))
    np.testing.assert_allclose(mask.numpy(), np.mean(attention, axis=0))
    assert not mask.requires_grad
    squares = (ours - theirs[:, :3]) ** 2
    teacher = torch.from_numpy(theirs[:, :3])
    assert norm_loss(student, teacher).item() == pytest.approx(np.sqrt(squares.sum()))
    expected = np.sqrt((mask.numpy()[:, None] * squares).sum())
    assert norm_loss(student, teacher, mask).item() == pytest.approx(expected)


def test_equal_maps_have_a_zero_gradient():
    student = torch.randn(2, 3, requires_grad=True)
    norm_loss(student, student.detach().clone()).backward()
    assert not student.grad.any()
