from __future__ import annotations

import numpy as np
import pytest
import torch
from fake_steps import built, leaves, step, total
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pydantic import ValidationError

from kdbench.errors import UserError
from kdbench_papers.fitnets.card import FitnetsOptions
from kdbench_papers.fitnets.losses import hint_loss
from kdbench_papers.fitnets.method import Fitnets
from kdbench_papers.hinton.losses import soft_target_loss


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_equals_its_definition(data):
    values = arrays(np.float64, data.draw(array_shapes(max_dims=4, max_side=4)), elements=st.floats(-50, 50))
    student, teacher = data.draw(values), data.draw(values)
    expected = sum((s - t) ** 2 for s, t in zip(student.flat, teacher.flat, strict=True)) / (2 * student.size)
    value = hint_loss(torch.from_numpy(student), torch.from_numpy(teacher))
    assert value.item() == pytest.approx(expected)
    single = hint_loss(torch.from_numpy(student).float(), torch.from_numpy(teacher).float())
    assert single.dtype == torch.float32
    assert single.item() == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_gradient_and_teacher():
    student = torch.randn(2, 3, 2, 2).double().requires_grad_()
    teacher = torch.randn(2, 3, 2, 2).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda value: hint_loss(value, teacher.detach()), student)
    hint_loss(student, teacher).backward()
    assert teacher.grad is None
    assert student.grad is not None
    torch.testing.assert_close(student.grad, (student - teacher).detach() / student.numel())


@pytest.mark.parametrize("shape", [(0, 3, 2, 2), (2, 0), (1, 3, 0, 5)])
def test_empty_is_exactly_zero(shape):
    student = torch.randn(shape, requires_grad=True)
    value = hint_loss(student, torch.randn(shape))
    value.backward()
    assert value.item() == 0
    assert student.grad is not None


def test_autocast_half_strides_and_shapes():
    student, teacher = torch.randn(2, 4, 5, 6), torch.randn(2, 4, 5, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = hint_loss(student.bfloat16(), teacher.bfloat16())
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, hint_loss(student.bfloat16().float(), teacher.bfloat16().float()))
    torch.testing.assert_close(hint_loss(student.mT, teacher.mT), hint_loss(student, teacher))
    assert torch.isfinite(hint_loss(torch.full((9,), 200.0).half(), torch.full((9,), -200.0).half()))
    with pytest.raises(ValueError, match="differ in shape"):
        hint_loss(student, teacher[:1])


@pytest.mark.parametrize(
    ("family", "hint"),
    [
        *(
            (family, hint)
            for family in ("two-stage", "dense", "segmentation")
            for hint in ("neck", "backbone")
        ),
        ("two-stage", "roi_features"),
    ],
)
@pytest.mark.parametrize("channels", [(4, 6), (4, 4)])
def test_method_trains_student_and_regressor(family, hint, channels):
    on = step(family, channels)
    options = FitnetsOptions(hint=hint)
    assert Fitnets(options).needs() == (hint,)
    method = built(Fitnets, options, on)
    total(method.losses(on)).backward()
    assert method.task_weight(on) == 1
    assert len(list(method.parameters())) == 2 * len(leaves(on.student, hint))
    grads = [leaf.grad for leaf in [*method.parameters(), *leaves(on.student, hint)]]
    assert all(grad is not None and grad.abs().sum() > 0 for grad in grads)
    assert all(leaf.grad is None for leaf in leaves(on.teacher, hint))


def test_hint_is_the_mean_over_levels():
    on = step()
    method = built(Fitnets, FitnetsOptions(hint_weight=3), on)
    adapted = [r.conv(m) for r, m in zip(method.regressors, on.student["neck"], strict=True)]
    expected = [0.5 * (a - t).square().mean() for a, t in zip(adapted, on.teacher["neck"], strict=True)]
    torch.testing.assert_close(method.losses(on)["hint"], 3 * (expected[0] + expected[1]) / 2)


def test_maps_of_another_size_are_interpolated():
    on = step(strides=(16, 32), teacher_strides=(8, 16))
    method = built(Fitnets, FitnetsOptions(), on)
    assert total(method.losses(on)) > 0
    assert any("bilinear" in note for note in method.notes())


def test_other_numbers_of_levels_are_refused():
    with pytest.raises(UserError, match="the student's neck has 2 levels, the teacher's 1"):
        built(Fitnets, FitnetsOptions(), step(teacher_strides=(8,)))


@pytest.mark.parametrize(
    ("iteration", "hint", "soft", "task"),
    [(0, 2, 0, 0), (24, 2, 0, 0), (25, 0, 4, 1), (75, 0, 2, 1), (99, 0, 4 * (1 - 0.75 * 74 / 75), 1)],
)
def test_two_stage_schedule(iteration, hint, soft, task):
    on = step(iteration=iteration)
    options = FitnetsOptions(variant="two-stage", hint_weight=2)
    assert Fitnets(options).needs() == ("neck", "logits")
    method = built(Fitnets, options, on)
    assert method.weights(on) == pytest.approx((hint, soft))
    assert method.task_weight(on) == task
    terms = method.losses(on)
    assert bool(terms["hint"]) is bool(hint)
    logits = [side["logits"].values[0] for side in (on.student, on.teacher)]
    torch.testing.assert_close(terms["soft"], soft * soft_target_loss(*logits, 3.0) / 9)
    total(terms).backward()
    assert all(parameter.grad is not None for parameter in method.parameters())


@pytest.mark.parametrize(("iteration", "soft"), [(0, 1), (50, 0.625)])
def test_joint_with_soft_targets(iteration, soft):
    on = step("dense", iteration=iteration)
    method = built(Fitnets, FitnetsOptions(kd_weight=1), on)
    assert method.weights(on) == pytest.approx((1, soft))
    assert set(method.losses(on)) == {"hint", "soft"}


def test_zero_weights_are_zero():
    on = step()
    method = built(Fitnets, FitnetsOptions(hint_weight=0, kd_weight=0), on)
    loss = total(method.losses(on))
    loss.backward()
    assert loss.item() == 0
    assert all(leaf.grad is not None and not leaf.grad.any() for leaf in leaves(on.student, "neck"))


@pytest.mark.parametrize(
    "wrong",
    [{"variant": "three-stage"}, {"hint": "rois"}, {"hint_weight": -1}, {"stage": 1}, {"temperature": 0}],
)
def test_options_are_checked(wrong):
    with pytest.raises(ValidationError):
        FitnetsOptions(**wrong)
