from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import softmax
from scipy.stats import pearsonr

from kdbench_papers.dist.losses import dist_loss

logits = arrays(np.float64, (5, 4), elements=st.integers(-30, 30).map(lambda n: n / 10), unique=True)


def reference(ours, theirs, beta, gamma, temperature):
    p, q = softmax(ours / temperature, axis=1), softmax(theirs / temperature, axis=1)
    rows = np.mean([1 - pearsonr(a, b).statistic for a, b in zip(p, q, strict=True)])
    columns = np.mean([1 - pearsonr(a, b).statistic for a, b in zip(p.T, q.T, strict=True)])
    return temperature**2 * (beta * rows + gamma * columns)


@settings(max_examples=40, deadline=None)
@given(logits, logits, st.sampled_from([(1, 1, 1.0), (2, 0, 1.0), (0, 3, 2.0)]))
def test_equals_its_definition(ours, theirs, numbers):
    value = dist_loss(torch.from_numpy(ours), torch.from_numpy(theirs), *numbers)
    assert value.item() == pytest.approx(reference(ours, theirs, *numbers), abs=1e-4)


def test_all_pixels_of_a_batch_are_rows():
    ours, theirs = torch.randn(2, 4, 3, 5).double(), torch.randn(2, 4, 3, 5).double()
    rows = [value.permute(0, 2, 3, 1).reshape(-1, 4) for value in (ours, theirs)]
    torch.testing.assert_close(dist_loss(ours, theirs), dist_loss(*rows))


def test_an_affine_map_of_a_rows_probabilities_changes_nothing_and_one_of_its_logits_does():
    teacher = torch.randn(6, 5).double()
    scale, student = torch.rand(6, 1).double(), teacher.softmax(dim=1)
    mixed = (scale * student + (1 - scale) / 5).log()
    assert dist_loss(mixed, teacher, gamma=0).item() == pytest.approx(0, abs=1e-6)
    assert dist_loss(2 * teacher, teacher, gamma=0) > 1e-3


def test_what_does_not_vary_counts_as_uncorrelated_and_gets_no_gradient():
    student = torch.zeros(4, 3, requires_grad=True)
    value = dist_loss(student, torch.randn(4, 3), 2.0, 3.0)
    value.backward()
    assert value.item() == 5
    assert not student.grad.any()


def test_misuse_is_refused():
    with pytest.raises(ValueError, match="must be positive"):
        dist_loss(torch.zeros(2, 3), torch.zeros(2, 3), temperature=0.0)
    with pytest.raises(ValueError, match="differ in shape"):
        dist_loss(torch.zeros(2, 3), torch.zeros(1, 3))
