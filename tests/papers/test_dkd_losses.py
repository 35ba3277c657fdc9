from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import softmax
from scipy.stats import entropy

from kdbench_papers.dkd.losses import decoupled_loss
from kdbench_papers.hinton.losses import soft_target_loss
from kdbench_papers.lskd.losses import standardised_logits

logits = arrays(np.float64, (4, 3), elements=st.floats(-8, 8))
labels_of = st.lists(st.integers(0, 2), min_size=4, max_size=4)


def reference(ours, theirs, labels, alpha, beta, temperature):
    """Compute the loss one row at a time."""
    total = 0.0
    for s, t, label in zip(ours / temperature, theirs / temperature, labels, strict=True):
        p, q = softmax(t), softmax(s)
        target = entropy([p[label], 1 - p[label]], [q[label], 1 - q[label]])
        others = entropy(softmax(np.delete(t, label)), softmax(np.delete(s, label)))
        total += temperature**2 * (alpha * target + beta * others) / len(labels)
    return total


@settings(max_examples=40, deadline=None)
@given(logits, logits, labels_of, st.sampled_from([(1.0, 0.25, 1.0), (0.0, 1.0, 4.0), (1.0, 0.0, 2.0)]))
def test_equals_its_definition(ours, theirs, labels, numbers):
    value = decoupled_loss(torch.from_numpy(ours), torch.from_numpy(theirs), torch.tensor(labels), *numbers)
    assert value.item() == pytest.approx(reference(ours, theirs, labels, *numbers), rel=1e-6, abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(logits, logits, labels_of, st.sampled_from([1.0, 3.0]))
def test_with_the_teachers_own_weights_it_is_hintons_loss(ours, theirs, labels, temperature):
    student, teacher, label = torch.from_numpy(ours), torch.from_numpy(theirs), torch.tensor(labels)
    chosen = (teacher / temperature).softmax(dim=1).gather(1, label[:, None])[:, 0]
    value = decoupled_loss(student, teacher, label, 1.0, 1 - chosen, temperature)
    torch.testing.assert_close(value, soft_target_loss(student, teacher, temperature), rtol=1e-6, atol=1e-9)


def test_two_classes_have_nothing_beside_the_label_and_one_is_refused():
    student, teacher = torch.randn(3, 2), torch.randn(3, 2)
    assert decoupled_loss(student, teacher, torch.tensor([0, 1, 1]), 0.0, 1.0, 1.0).item() == 0
    with pytest.raises(ValueError, match="at least two classes"):
        decoupled_loss(student[:, :1], teacher[:, :1], torch.zeros(3, dtype=torch.long), 1.0, 1.0, 1.0)


@settings(max_examples=30, deadline=None)
@given(
    arrays(np.float64, (3, 4), elements=st.integers(-50, 50), unique=True),
    st.floats(0.1, 9),
    st.floats(-9, 9),
)
def test_standardised_logits_do_not_know_of_an_affine_map(values, scale, shift):
    given_, found = torch.from_numpy(values), standardised_logits(torch.from_numpy(values))
    expected = (values - values.mean(axis=1, keepdims=True)) / values.std(axis=1, ddof=1, keepdims=True)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)
    torch.testing.assert_close(standardised_logits(scale * given_ + shift), found, rtol=0, atol=2e-6)


def test_standardised_logits_of_maps_and_of_little():
    maps = torch.randn(2, 3, 4, 5).double()
    rows = maps.movedim(1, -1).flatten(0, -2)
    torch.testing.assert_close(
        standardised_logits(maps).movedim(1, -1).flatten(0, -2), standardised_logits(rows)
    )
    torch.testing.assert_close(standardised_logits(rows.T, dim=0), standardised_logits(rows).T)
    flat = torch.full((2, 3), 1000.3, requires_grad=True)
    standardised_logits(flat).sum().backward()
    assert not standardised_logits(flat).any()
    assert not flat.grad.any()
    assert standardised_logits(flat.half()).dtype == torch.float32
    with pytest.raises(ValueError, match="at least two"):
        standardised_logits(flat[:, :1])
