from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit

from kdbench_papers.bckd.losses import box_consistency_loss, consistency_loss
from kdbench_papers.crosskd.losses import focal_divergence, scaled_like


def test_scaled_maps_have_the_teachers_moments():
    draw = np.random.default_rng(0)
    ours, theirs = draw.normal(3, 2, (2, 3, 4, 5)), draw.normal(-1, 0.5, (2, 3, 4, 5))
    expected = np.empty_like(ours)
    for c in range(3):
        own, other = ours[:, c], theirs[:, c]
        scaled = (own - own.mean()) / (own.std(ddof=1) + 1e-6)
        expected[:, c] = scaled * other.std(ddof=1) + other.mean()
    found = scaled_like(torch.from_numpy(ours), torch.from_numpy(theirs))
    np.testing.assert_allclose(found.numpy(), expected)


def test_equal_maps_stay_and_a_single_cell_becomes_the_teachers():
    maps = torch.randn(2, 3, 4, 5)
    torch.testing.assert_close(scaled_like(maps, maps), maps, rtol=1e-4, atol=1e-5)
    student, teacher = torch.randn(1, 3, 1, 1, requires_grad=True), torch.randn(1, 3, 1, 1)
    scaled = scaled_like(student, teacher)
    scaled.sum().backward()
    torch.testing.assert_close(scaled.detach(), teacher)
    assert not student.grad.any()


def reference(ours, theirs, beta):
    """Compute the loss one class at a time."""
    found = np.zeros(len(ours))
    for i, c in np.ndindex(ours.shape):
        p, q = expit(ours[i, c]), expit(theirs[i, c])
        found[i] -= abs(q - p) ** beta * (q * np.log(p) + (1 - q) * np.log(1 - p))
    return found


@pytest.mark.parametrize("beta", [1.0, 2.0])
def test_the_divergence_and_bckds_sum_equal_their_definitions(beta):
    draw = np.random.default_rng(0)
    ours, theirs = draw.normal(size=(2, 5, 3)) * 2
    weights = draw.uniform(size=5)
    student, teacher = torch.from_numpy(ours), torch.from_numpy(theirs)
    np.testing.assert_allclose(
        focal_divergence(student, teacher, beta).numpy(), reference(ours, theirs, beta)
    )
    expected = (weights * reference(ours, theirs, 1.0)).sum()
    for normaliser, divided in ((7.0, 7), (torch.tensor(7), 7), (0, 1), (torch.tensor(0.0), 1)):
        value = consistency_loss(student, teacher, torch.from_numpy(weights), normaliser)
        assert value.item() == pytest.approx(expected / divided)


def test_the_factor_has_a_gradient():
    student, teacher = torch.randn(4, 3).double().requires_grad_(), torch.randn(4, 3).double()
    (gradient,) = torch.autograd.grad(focal_divergence(student, teacher).sum(), student)
    p, q = student.sigmoid(), teacher.sigmoid()
    entropy = -(q * p.log() + (1 - q) * (1 - p).log())
    expected = (p - q) * (q - p).abs() + entropy * (p - q).sign() * p * (1 - p)
    torch.testing.assert_close(gradient, expected.detach())


def test_where_probabilities_agree_there_is_neither_loss_nor_gradient():
    logits = torch.randn(4, 3, requires_grad=True)
    value = consistency_loss(logits, logits.detach().clone(), torch.ones(4), 1.0)
    value.backward()
    assert value.item() == 0
    assert not logits.grad.any()


def giou(one, other):
    def area(box):
        return max(box[2] - box[0], 0) * max(box[3] - box[1], 0)

    inner = area([*np.maximum(one[:2], other[:2]), *np.minimum(one[2:], other[2:])])
    outer = area([*np.minimum(one[:2], other[:2]), *np.maximum(one[2:], other[2:])])
    union = area(one) + area(other) - inner
    return inner / union - (outer - union) / outer


def test_the_boxes_loss_equals_its_definition():
    draw = np.random.default_rng(0)
    corners, sides = draw.uniform(0, 20, (2, 6, 2)), draw.uniform(2, 20, (2, 6, 2))
    ours, theirs = np.concatenate([corners, corners + sides], axis=2)
    weights = draw.uniform(size=6)
    expected = sum(w * (1 - giou(a, b)) for w, a, b in zip(weights, ours, theirs, strict=True)) / 3
    given = [torch.from_numpy(part) for part in (ours, theirs, weights)]
    assert box_consistency_loss(*given, 3).item() == pytest.approx(expected, rel=1e-6)
    equal = box_consistency_loss(given[0], given[0].clone(), given[2], 0)
    assert equal.item() == pytest.approx(0, abs=1e-6)


def test_weights_get_no_gradient():
    weights = torch.ones(4, requires_grad=True)
    student = torch.randn(4, 3, requires_grad=True)
    consistency_loss(student, torch.randn(4, 3), weights, 1.0).backward()
    assert weights.grad is None
