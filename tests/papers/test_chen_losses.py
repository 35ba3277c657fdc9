from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kdbench_papers.chen.losses import (
    hint_loss,
    regression_l2,
    teacher_bounded_l2,
    weighted_sigmoid_cross_entropy,
    weighted_soft_cross_entropy,
)


def entropy_reference(student, teacher, background, weight):
    """- mean over rows of sum_c w_c P_t log P_s, from the definition, row by row."""
    rows = []
    for z, v in zip(student, teacher, strict=True):
        p_s, p_t = (np.exp(x - x.max()) / np.exp(x - x.max()).sum() for x in (z, v))
        w = np.ones(len(z))
        w[background] = weight
        rows.append(-sum(w[c] * p_t[c] * np.log(p_s[c]) for c in range(len(z))))
    return float(np.mean(rows))


def sigmoid_reference(student, teacher, weight):
    q, p = 1 / (1 + np.exp(-student)), 1 / (1 + np.exp(-teacher))
    terms = p * np.log(q) + weight * (1 - p) * np.log(1 - q)
    return float(-terms.sum() / max(1.0, p.max(axis=1).sum()))


def bounded_reference(student, teacher, target, margin):
    total = 0.0
    for s, t, y in zip(student, teacher, target, strict=True):
        own, bound = sum((s - y) ** 2), sum((t - y) ** 2)
        total += own if own + margin > bound else 0.0
    return total / len(student)


def values(*shape):
    return arrays(np.float64, shape, elements=st.floats(-6, 6))


@st.composite
def logit_pairs(draw):
    shape = draw(st.integers(1, 6)), draw(st.integers(1, 5))
    return draw(values(*shape)), draw(values(*shape))


@settings(max_examples=60, deadline=None)
@given(logit_pairs(), st.floats(0, 4), st.data())
def test_weighted_soft_cross_entropy_is_its_definition(pair, weight, data):
    background = data.draw(st.integers(-pair[0].shape[1], pair[0].shape[1] - 1))
    student, teacher = (torch.from_numpy(part) for part in pair)
    expected = entropy_reference(*pair, background, weight)
    found = weighted_soft_cross_entropy(student, teacher, background, weight)
    assert found.item() == pytest.approx(expected, rel=1e-9, abs=1e-9)
    single = weighted_soft_cross_entropy(student.float(), teacher.float(), background, weight)
    assert single.dtype == torch.float32
    assert single.item() == pytest.approx(expected, rel=1e-4, abs=1e-4)


@settings(max_examples=60, deadline=None)
@given(logit_pairs(), st.floats(0, 4))
def test_weighted_sigmoid_cross_entropy_is_its_definition(pair, weight):
    found = weighted_sigmoid_cross_entropy(*(torch.from_numpy(part) for part in pair), weight)
    assert found.item() == pytest.approx(sigmoid_reference(*pair, weight), rel=1e-9, abs=1e-9)


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 8).flatmap(lambda n: st.tuples(*[values(n, 4)] * 3)), st.floats(0, 9))
def test_teacher_bounded_l2_is_its_definition(boxes, margin):
    student, teacher, target = boxes
    own, bound = ((student - target) ** 2).sum(1), ((teacher - target) ** 2).sum(1)
    assume(bool((np.abs(own + margin - bound) > 1e-9).all()))  # a tie is a matter of rounding
    found = teacher_bounded_l2(*(torch.from_numpy(part) for part in boxes), margin)
    assert found.item() == pytest.approx(bounded_reference(*boxes, margin), rel=1e-9, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 8).flatmap(lambda n: st.tuples(values(n, 4), values(n, 4))))
def test_squares_are_their_definitions(pair):
    student, teacher = (torch.from_numpy(part) for part in pair)
    squares = (pair[0] - pair[1]) ** 2
    assert regression_l2(student, teacher).item() == pytest.approx(squares.sum() / len(squares))
    assert hint_loss(student, teacher).item() == pytest.approx(squares.sum() / squares.size)


def test_background_weight_counts_in_its_column_alone():
    student, teacher = torch.randn(5, 4), torch.randn(5, 4)
    plain = weighted_soft_cross_entropy(student, teacher, 3, 1.0)
    torch.testing.assert_close(
        plain, torch.nn.functional.cross_entropy(student, teacher.softmax(dim=1)), rtol=1e-5, atol=1e-6
    )
    double = weighted_soft_cross_entropy(student, teacher, 3, 2.0)
    part = -(teacher.softmax(1) * student.log_softmax(1))[:, 3].mean()
    torch.testing.assert_close(double - plain, part)
    torch.testing.assert_close(
        weighted_soft_cross_entropy(student, teacher, -1),
        weighted_soft_cross_entropy(student, teacher, 3, 1.5),
    )


def test_two_classes_are_a_sigmoid():
    z, v = torch.randn(7, 1).double(), torch.randn(7, 1).double()
    zero = torch.zeros_like(z)
    soft = weighted_soft_cross_entropy(torch.cat([z, zero], 1), torch.cat([v, zero], 1), 1)
    p, q = v.sigmoid(), z.sigmoid()
    torch.testing.assert_close(soft, -(p * q.log() + 1.5 * (1 - p) * (1 - q).log()).mean())


def test_a_box_that_is_better_than_the_teachers_has_no_gradient():
    target = torch.zeros(3, 4)
    student = torch.tensor([[1.0] * 4, [2.0] * 4, [3.0] * 4], requires_grad=True)
    teacher = torch.tensor([[2.0] * 4, [2.0] * 4, [1.0] * 4])
    loss = teacher_bounded_l2(student, teacher, target)
    loss.backward()
    assert loss.item() == pytest.approx(36 / 3)
    assert torch.equal(student.grad[:2], torch.zeros(2, 4))
    torch.testing.assert_close(student.grad[2], torch.full((4,), 2 * 3.0 / 3))
    assert teacher_bounded_l2(student, teacher, target, margin=0.1).item() == pytest.approx(52 / 3)
    assert teacher_bounded_l2(student, teacher, target, margin=13.0).item() == pytest.approx(56 / 3)


LOSSES = [
    lambda s, t: weighted_soft_cross_entropy(s, t, -1),
    weighted_sigmoid_cross_entropy,
    lambda s, t: teacher_bounded_l2(s, t, torch.full_like(s, 0.1)),
    regression_l2,
    hint_loss,
]


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_is_the_differential(loss):
    torch.manual_seed(0)
    student, teacher = torch.randn(6, 4).double().requires_grad_(), torch.randn(6, 4).double()
    assert torch.autograd.gradcheck(lambda value: loss(value, teacher), student)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_teacher_gets_no_gradient(loss):
    student, teacher = torch.randn(9, 4, requires_grad=True), torch.randn(9, 4, requires_grad=True)
    loss(2 * student, teacher).backward()
    assert teacher.grad is None
    assert bool(student.grad.abs().sum() > 0)


@pytest.mark.parametrize("loss", LOSSES)
def test_empty_is_exactly_zero(loss):
    student = torch.randn(0, 4, requires_grad=True)
    value = loss(student, torch.randn(0, 4))
    value.backward()
    assert value.item() == 0
    assert student.grad is not None


def test_one_class_and_one_pixel():
    one, other = torch.randn(3, 1), torch.randn(3, 1)
    assert weighted_soft_cross_entropy(one, other, 0).item() == 0
    assert weighted_sigmoid_cross_entropy(one, other).item() > 0
    pixel = torch.randn(1, 4, 1, 1)
    assert hint_loss(pixel, pixel + 2).item() == pytest.approx(4, rel=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_autocast_half_and_strides(loss):
    student, teacher = torch.randn(4, 4), torch.randn(4, 4)
    exact = loss(student.bfloat16().float(), teacher.bfloat16().float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = loss(student.bfloat16(), teacher.bfloat16())
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, exact, rtol=1e-2, atol=1e-3)
    wide_student, wide_teacher = torch.randn(4, 8), torch.randn(4, 8)
    strided = loss(wide_student[:, ::2], wide_teacher[:, ::2])
    torch.testing.assert_close(
        strided, loss(wide_student[:, ::2].contiguous(), wide_teacher[:, ::2].contiguous())
    )


@pytest.mark.parametrize("loss", LOSSES[:2])
def test_extreme_logits_stay_finite(loss):
    student = torch.tensor([[1e4, -1e4], [-1e4, 1e4]], requires_grad=True)
    value = loss(student, -student.detach())
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(student.grad).all()


def test_misuse_is_refused():
    with pytest.raises(ValueError, match="differ in shape"):
        weighted_soft_cross_entropy(torch.zeros(2, 3), torch.zeros(1, 3), -1)
    with pytest.raises(ValueError, match="differ in shape"):
        weighted_sigmoid_cross_entropy(torch.zeros(2, 3), torch.zeros(2, 1))
    for shapes in [(1, 2, 2), (2, 1, 2), (2, 2, 1)]:
        with pytest.raises(ValueError, match="differ in shape"):
            teacher_bounded_l2(*(torch.zeros(n, 4) for n in shapes))
    with pytest.raises(IndexError):
        weighted_soft_cross_entropy(torch.zeros(2, 3), torch.zeros(2, 3), 3)
