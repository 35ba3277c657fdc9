from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from fake_steps import built, leaves, step, total
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pydantic import ValidationError

from kdbench.distill import Logits
from kdbench.errors import UserError
from kdbench_papers.hinton.card import CARD, HintonOptions
from kdbench_papers.hinton.losses import (
    ensemble_logits,
    logits_loss,
    matching_loss,
    sigmoid_soft_target_loss,
    soft_target_loss,
)
from kdbench_papers.hinton.method import Hinton

LOSSES = [soft_target_loss, sigmoid_soft_target_loss]
FAMILIES = ["two-stage", "dense", "segmentation"]


def softmax_reference(student: np.ndarray, teacher: np.ndarray, temperature: float, dim: int = 1) -> float:
    """Compute T^2 sum p log(p / q) from the definition, in float64."""

    def probabilities(logits: np.ndarray) -> np.ndarray:
        powers = np.exp(logits / temperature - (logits / temperature).max(axis=dim, keepdims=True))
        return powers / powers.sum(axis=dim, keepdims=True)

    p, q = probabilities(teacher), probabilities(student)
    return temperature**2 * float((p * np.log(p / q)).sum(axis=dim).mean())


def sigmoid_reference(student: np.ndarray, teacher: np.ndarray, temperature: float, dim: int = 1) -> float:
    p, q = 1 / (1 + np.exp(-teacher / temperature)), 1 / (1 + np.exp(-student / temperature))
    divergence = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    return temperature**2 * float(divergence.sum(axis=dim).mean())


@st.composite
def logit_pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    shape = draw(array_shapes(min_dims=2, max_dims=5, max_side=4))
    values = arrays(np.float64, shape, elements=st.floats(-8, 8))
    return draw(values), draw(values)


@settings(max_examples=60, deadline=None)
@given(logit_pairs(), st.floats(0.5, 20))
def test_functions_equal_their_definitions(pair, temperature):
    student, teacher = (torch.from_numpy(part) for part in pair)
    for loss, reference in zip(LOSSES, (softmax_reference, sigmoid_reference), strict=True):
        expected = reference(*pair, temperature)
        assert loss(student, teacher, temperature).item() == pytest.approx(expected, rel=1e-9, abs=1e-9)
        single = loss(student.float(), teacher.float(), temperature)
        assert single.dtype == torch.float32
        assert single.item() == pytest.approx(expected, rel=1e-3, abs=2e-3)


@pytest.mark.parametrize(
    ("loss", "reference"), zip(LOSSES, (softmax_reference, sigmoid_reference), strict=True)
)
def test_class_dimension(loss, reference):
    student, teacher = torch.randn(2, 5, 3, 4).double(), torch.randn(2, 5, 3, 4).double()
    for dim in (0, 1, -1):
        expected = reference(student.numpy(), teacher.numpy(), 3.0, dim)
        assert loss(student, teacher, 3.0, dim=dim).item() == pytest.approx(expected)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_is_the_differential(loss):
    student, teacher = torch.randn(2, 3, 2, 2).double().requires_grad_(), torch.randn(2, 3, 2, 2).double()
    assert torch.autograd.gradcheck(lambda value: loss(value, teacher, 2.5), student)


def test_softmax_gradient_is_that_of_the_papers_cross_entropy():
    student, teacher = torch.randn(6, 4).double().requires_grad_(), torch.randn(6, 4).double()
    (gradient,) = torch.autograd.grad(soft_target_loss(student, teacher, 4.0), student)
    expected = 4.0 / 6 * ((student / 4).softmax(1) - (teacher / 4).softmax(1))
    torch.testing.assert_close(gradient, expected.detach())


@pytest.mark.parametrize("loss", LOSSES)
def test_direction_equality_and_teacher(loss):
    student, teacher = torch.randn(4, 3, requires_grad=True), torch.randn(4, 3, requires_grad=True)
    assert loss(student, student.detach(), 2.0).item() == pytest.approx(0, abs=1e-6)
    assert loss(student, teacher, 2.0).item() != pytest.approx(loss(teacher, student, 2.0).item(), rel=1e-3)
    loss(student, teacher, 2.0).backward()
    assert teacher.grad is None
    assert student.grad is not None
    assert student.grad.abs().sum() > 0


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("shape", [(0, 3), (2, 3, 0, 4), (0, 3, 2, 2)])
def test_empty_is_exactly_zero(loss, shape):
    student = torch.randn(shape, requires_grad=True)
    value = loss(student, torch.randn(shape), 2.0)
    value.backward()
    assert value.item() == 0
    assert student.grad is not None


def test_the_defaults_leave_a_detectors_other_terms_their_part():
    """With T = 2 the factor T^2 would make the soft targets outweigh the boxes and proposals."""
    assert HintonOptions().temperature == 1
    assert HintonOptions().weight == 1
    assert CARD.revision == 2


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_matching_is_the_limit_of_a_high_temperature(activation):
    student, teacher = (Logits((torch.randn(6, 4).double(),), activation) for _ in range(2))
    limit = logits_loss(student, teacher, 1e4, "positions")
    torch.testing.assert_close(matching_loss(student, teacher), limit, rtol=1e-3, atol=0)
    several = [Logits((torch.randn(6, 4).double(),), activation) for _ in range(3)]
    means = [ensemble_logits(several, temperature).values[0] for temperature in (math.inf, 1e5)]
    if activation == "softmax":  # determines logits only up to a constant
        means = [mean - mean.mean(dim=1, keepdim=True) for mean in means]
    torch.testing.assert_close(*means, rtol=1e-3, atol=1e-4)


def test_matching_takes_the_place_of_the_soft_targets():
    on = step("two-stage")
    (term,) = built(Hinton, HintonOptions(matching=True, weight=3), on).losses(on).values()
    expected = 3 * matching_loss(on.student["logits"], on.teacher["logits"])
    torch.testing.assert_close(term, expected)
    assert {"temperature", "normaliser"} <= HintonOptions(matching=True).settled


def test_one_class_and_one_pixel():
    one_class, other = torch.randn(2, 1, 3, 3), torch.randn(2, 1, 3, 3)
    assert soft_target_loss(one_class, other, 2.0).item() == 0
    assert sigmoid_soft_target_loss(one_class, other, 2.0).item() > 0
    pixel, target = torch.randn(1, 4, 1, 1), torch.randn(1, 4, 1, 1)
    torch.testing.assert_close(
        soft_target_loss(pixel, target, 2.0), soft_target_loss(pixel.flatten(1), target.flatten(1), 2.0)
    )


@pytest.mark.parametrize("loss", LOSSES)
def test_extreme_logits_stay_finite(loss):
    student = torch.tensor([[1e4, -1e4], [-1e4, 1e4]], requires_grad=True)
    value = loss(student, -student.detach(), 1.0)
    value.backward()
    assert torch.isfinite(value)
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_autocast_half_and_strides(loss):
    student, teacher = torch.randn(2, 4, 5, 6), torch.randn(2, 4, 5, 6)
    exact = loss(student.bfloat16().float(), teacher.bfloat16().float(), 3.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = loss(student.bfloat16(), teacher.bfloat16(), 3.0)
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, exact)
    turned = loss(student.transpose(2, 3), teacher.transpose(2, 3), 3.0)
    torch.testing.assert_close(turned, loss(student, teacher, 3.0))


@pytest.mark.parametrize("loss", LOSSES)
def test_misuse_is_refused(loss):
    with pytest.raises(ValueError, match="differ in shape"):
        loss(torch.zeros(2, 3), torch.zeros(1, 3), 1.0)
    for temperature in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="must be positive"):
            loss(torch.zeros(2, 3), torch.zeros(2, 3), temperature)


def test_levels_are_one_set():
    shapes = [(2, 3, 2, 4, 4), (2, 3, 2, 2, 2), (2, 3, 2, 1, 1)]
    student = [torch.randn(shape).double() for shape in shapes]
    teacher = [torch.randn(shape).double() for shape in shapes]
    mean = logits_loss(Logits((*student,), "sigmoid"), Logits((*teacher,), "sigmoid"), 2.0, "positions")
    counts = [part.numel() // 3 for part in student]
    parts = [
        sigmoid_reference(s.numpy(), t.numpy(), 2.0) * n
        for s, t, n in zip(student, teacher, counts, strict=True)
    ]
    assert mean.item() == pytest.approx(sum(parts) / sum(counts))
    foreground = logits_loss(Logits((*student,), "sigmoid"), Logits((*teacher,), "sigmoid"), 2.0)
    total, mass = 0.0, 0.0
    for s, t in zip(student, teacher, strict=True):
        ours, theirs = rows_of(s), rows_of(t)
        for own, other in zip(ours, theirs, strict=True):
            weight = (1 / (1 + np.exp(-other))).max()
            total += weight * sigmoid_reference(own[None], other[None], 2.0)
            mass += weight
    assert foreground.item() == pytest.approx(total / mass)


def rows_of(maps):
    """Convert maps (B, C, A, H, W) to rows (N, C)."""
    return np.moveaxis(maps.numpy(), 1, -1).reshape(-1, maps.shape[1])


def test_foreground_mass_is_at_least_one():
    student, teacher = torch.full((1, 2, 1, 2, 2), -5.0), torch.full((1, 2, 1, 2, 2), -2.0)
    pair = Logits((student,), "sigmoid"), Logits((teacher,), "sigmoid")
    mean = logits_loss(*pair, 1.0, "positions")
    weight = 1 / (1 + math.exp(2.0))  # of each of four positions; the sum is below 1
    torch.testing.assert_close(logits_loss(*pair, 1.0), 4 * weight * mean)


def test_segmentation_student_is_resized():
    student, teacher = torch.randn(1, 3, 4, 4), torch.randn(1, 3, 8, 6)
    resized = torch.nn.functional.interpolate(student, size=(8, 6), mode="bilinear", align_corners=False)
    loss = logits_loss(Logits((student,), "softmax"), Logits((teacher,), "softmax"), 2.0)
    torch.testing.assert_close(loss, soft_target_loss(resized, teacher, 2.0))


def test_activations_must_agree():
    values = (torch.zeros(2, 3),)
    with pytest.raises(ValueError, match="student has sigmoid logits, teacher softmax"):
        logits_loss(Logits(values, "sigmoid"), Logits(values, "softmax"), 1.0)


@pytest.mark.parametrize("family", FAMILIES)
def test_method_in_each_family(family):
    on = step(family)
    loss = total(built(Hinton, HintonOptions(), on).losses(on))
    loss.backward()
    assert all(leaf.grad is not None and leaf.grad.abs().sum() > 0 for leaf in leaves(on.student, "logits"))
    assert all(leaf.grad is None for leaf in leaves(on.teacher, "logits"))


@pytest.mark.parametrize("family", FAMILIES)
def test_zero_weight_is_zero(family):
    on = step(family)
    loss = total(built(Hinton, HintonOptions(weight=0), on).losses(on))
    loss.backward()
    assert loss.item() == 0
    assert all(leaf.grad is not None and not leaf.grad.any() for leaf in leaves(on.student, "logits"))


def test_hard_weight_scales_the_task():
    on = step()
    assert built(Hinton, HintonOptions(), on).task_weight(on) == 1
    assert built(Hinton, HintonOptions(hard=0.1), on).task_weight(on) == 0.1


@pytest.mark.parametrize(("strides", "teacher"), [((8, 16), (8,)), ((8, 16), (4, 8))])
def test_logits_that_do_not_line_up_are_refused(strides, teacher):
    with pytest.raises(UserError, match=r"levels|line up"):
        built(Hinton, HintonOptions(), step("dense", strides=strides, teacher_strides=teacher))


def test_segmentation_of_another_stride_is_not_refused():
    on = step("segmentation", strides=(16,), teacher_strides=(8,))
    assert total(built(Hinton, HintonOptions(), on).losses(on)) > 0


@pytest.mark.parametrize(
    "wrong",
    [{"temperature": 0}, {"temperature": 101}, {"weight": -1}, {"hard": "x"}, {"normaliser": "boxes"}],
)
def test_options_are_checked(wrong):
    with pytest.raises(ValidationError):
        HintonOptions(**wrong)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.floats(0.5, 20))
def test_an_ensemble_is_the_mean_probability(data, temperature):
    shape = data.draw(array_shapes(min_dims=2, max_dims=5, max_side=4))
    members = [data.draw(arrays(np.float64, shape, elements=st.floats(-8, 8))) for _ in range(3)]
    student = data.draw(arrays(np.float64, shape, elements=st.floats(-8, 8)))
    powers = [np.exp(member / temperature) for member in members]
    softmax = np.mean([power / power.sum(axis=1, keepdims=True) for power in powers], axis=0)
    sigmoid = np.mean([power / (1 + power) for power in powers], axis=0)
    teachers = {"softmax": softmax, "sigmoid": np.log(sigmoid / (1 - sigmoid))}
    for activation, reference in (("softmax", softmax_reference), ("sigmoid", sigmoid_reference)):
        mean = teachers[activation] if activation == "sigmoid" else np.log(softmax)
        got = ensemble_logits([Logits((torch.from_numpy(m),), activation) for m in members], temperature)
        assert got.activation == activation
        theirs = got.values[0]
        expected = reference(student, temperature * mean, temperature)
        loss = soft_target_loss if activation == "softmax" else sigmoid_soft_target_loss
        assert loss(torch.from_numpy(student), theirs, temperature).item() == pytest.approx(
            expected, abs=1e-8
        )


def test_teachers_of_different_kinds_make_no_ensemble():
    soft, hard = Logits((torch.zeros(2, 3),), "softmax"), Logits((torch.zeros(2, 3),), "sigmoid")
    with pytest.raises(ValueError, match="different activations: sigmoid, softmax"):
        ensemble_logits([soft, hard], 1.0)
    with pytest.raises(ValueError, match="differ in shape"):
        ensemble_logits([soft, Logits((torch.zeros(2, 4),), "softmax")], 1.0)


@pytest.mark.parametrize("family", FAMILIES)
def test_method_with_an_ensemble(family):
    on = step(family)
    others = (step(family).teacher, step(family).teacher)
    method = built(Hinton, HintonOptions(teachers=3), on)
    term = method.losses(replace(on, others=others))["soft"]
    members = [on.teacher["logits"], *(captures["logits"] for captures in others)]
    expected = logits_loss(on.student["logits"], ensemble_logits(members, 1.0), 1.0)
    torch.testing.assert_close(term, expected)
    assert not torch.allclose(term, method.losses(on)["soft"])


def test_one_teacher_keeps_the_identity_of_older_results():
    assert "teachers" not in HintonOptions().recorded()
    assert HintonOptions(teachers=2).recorded()["teachers"] == HintonOptions(teachers=2).ensemble == 2
