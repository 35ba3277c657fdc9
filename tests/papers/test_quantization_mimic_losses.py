from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from kdbench_papers.mimic.losses import region_l2
from kdbench_papers.quantization_mimic.losses import (
    BINS,
    Quantization,
    quantize,
    quantize_power_of_two,
    quantized_region_l2,
    symmetric,
)

VALUES = arrays(np.float64, array_shapes(max_dims=3, max_side=5), elements=st.floats(-60, 60))
STEPS = st.sampled_from([0.125, 0.3, 0.5, 1.0, 2.5, 4.0])


def grid(kind: str, step: float, largest: float) -> np.ndarray:
    """Return the bins in ascending order, up to the first beyond ``largest``."""
    if kind == "uniform":
        return step * np.arange(math.ceil(largest / step) + 2)
    powers = max(1, math.ceil(math.log2(max(largest / step, 1))) + 2)
    return np.array([0.0, *(step * 2.0**k for k in range(powers))])


def nearest(x: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """Return the nearest bin of each element; argmin takes the first, which is the lower one for ties."""
    return bins[np.abs(x[..., None] - bins).argmin(axis=-1)]


@pytest.mark.parametrize("kind", BINS)
@settings(max_examples=80, deadline=None)
@given(VALUES, STEPS)
def test_nearest_bin(kind, x, step):
    bins = grid(kind, step, np.abs(x).max())
    value = BINS[kind](torch.from_numpy(x), step).numpy()
    expected = nearest(x, bins)
    gaps = np.sort(np.abs(x[..., None] - bins), axis=-1)
    # Within rounding of a tie, either neighbour is equally near; exact ties are tested below, with exact steps.
    clear = gaps[..., 1] - gaps[..., 0] > 1e-9
    np.testing.assert_allclose(value[clear], expected[clear], rtol=1e-12)
    np.testing.assert_allclose(np.abs(x - value), gaps[..., 0], atol=1e-9)


@pytest.mark.parametrize("kind", BINS)
@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-80, 400), min_size=1, max_size=30), st.sampled_from([0.25, 0.5, 1.0, 2.0, 8.0]))
@example([0, 4, 12, 24, 48, 96, 192, 384], 1.0)
def test_ties_go_down(kind, eighths, step):
    """Multiples of an eighth of a step hit every tie and every bin exactly."""
    x = np.array(eighths) / 8 * step
    expected = nearest(x, grid(kind, step, np.abs(x).max()))
    for dtype in (torch.float32, torch.float64):
        value = BINS[kind](torch.from_numpy(x).to(dtype), step)
        assert value.tolist() == expected.tolist()


def test_the_papers_rounding_by_hand():
    x = torch.tensor([-3.0, -0.5, -0.0, 0.5, 0.51, 1.0, 1.5, 2.5, 2.6, 3.5])
    assert quantize(x, 1.0).tolist() == [0, 0, 0, 0, 1, 1, 1, 2, 3, 3]
    y = torch.tensor([-1.0, 0.5, 0.6, 0.75, 1.5, 1.6, 3.0, 3.1, 6.0, 6.1, 100.0])
    assert quantize_power_of_two(y, 1.0).tolist() == [0, 0, 1, 1, 1, 2, 2, 4, 4, 8, 128]


@pytest.mark.parametrize("kind", BINS)
def test_the_gradient_goes_straight_through_every_bin_and_ends_at_negatives(kind):
    x = torch.linspace(-3, 9, 200, requires_grad=True)
    weights = torch.randn(200)
    (BINS[kind](x, 0.7) * weights).sum().backward()
    assert torch.equal(x.grad, torch.where(x >= 0, weights, 0.0))


@pytest.mark.parametrize("kind", BINS)
def test_symmetric_is_q_on_both_sides_with_the_gradient_of_the_identity(kind):
    x = torch.cat([torch.linspace(0, 9, 100), torch.zeros(1)])
    torch.testing.assert_close(symmetric(x, 0.7, kind), BINS[kind](x, 0.7))
    both = torch.cat([x, -x]).requires_grad_()
    value = symmetric(both, 0.7, kind)
    torch.testing.assert_close(value, torch.cat([BINS[kind](x, 0.7), -BINS[kind](x, 0.7)]))
    value.sum().backward()
    assert torch.equal(both.grad, torch.ones_like(both))


def test_a_student_meets_a_negative_teacher_in_a_finite_place():
    """With the paper's Q the student would run to minus infinity while the loss does not change."""
    teacher = torch.linspace(-3, 3, 64)
    student = torch.nn.Parameter(torch.zeros(64))
    optimizer = torch.optim.Adam([student], lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        loss = region_l2(symmetric(student, 1.0).view(1, 1, 8, 8), teacher.view(1, 1, 8, 8))
        loss.backward()
        optimizer.step()
    assert (
        loss < 0.2
    )  # the student may swing between two bins, which leaves at least 1/24; initially it is 1.5
    assert student.abs().max() < 4


@pytest.mark.parametrize("kind", BINS)
def test_types_layouts_and_emptiness(kind):
    x = torch.randn(2, 3, 4, 5) * 3
    for low in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = BINS[kind](x.to(low), 0.5)
        assert value.dtype == torch.float32
        assert torch.equal(value, BINS[kind](x.to(low).float(), 0.5))
        assert Quantization(0.5, kind)(x.to(low)).dtype == low
    assert BINS[kind](x.double(), 0.5).dtype == torch.float64
    assert torch.equal(BINS[kind](x.mT, 0.5), BINS[kind](x, 0.5).mT)
    empty = torch.zeros(0, 3, requires_grad=True)
    BINS[kind](empty, 0.5).sum().backward()
    assert empty.grad is not None


@pytest.mark.parametrize("kind", BINS)
def test_what_is_not_finite_stays_so(kind):
    assert BINS[kind](torch.tensor([math.nan]), 1.0).isnan().all()


@settings(max_examples=60, deadline=None)
@given(st.data(), STEPS)
def test_regions_equal_the_definition(data, step):
    shapes = data.draw(st.lists(array_shapes(min_dims=3, max_dims=3, max_side=3), min_size=1, max_size=4))
    # Multiples of a quarter of a step, shifted by an eighth, which are never near a tie.
    draw = [arrays(np.int64, shape, elements=st.integers(-20, 40)) for shape in shapes]
    student, teacher = ([(data.draw(v) / 4 + 0.125) * step for v in draw] for _ in range(2))
    bins, total = grid("uniform", step, 11 * step), 0.0
    for ours, theirs in zip(student, teacher, strict=True):
        total += ((nearest(theirs, bins) - nearest(ours, bins)) ** 2).sum() / ours.size
    value = quantized_region_l2(*([torch.from_numpy(x) for x in side] for side in (student, teacher)), step)
    assert value.item() == pytest.approx(total / (2 * len(student)))


def test_a_stack_equals_its_list_and_small_steps_approach_mimic():
    student, teacher = torch.rand(3, 4, 5, 6) * 4, torch.rand(3, 4, 5, 6) * 4
    listed = quantized_region_l2(list(student), list(teacher), 0.5)
    torch.testing.assert_close(quantized_region_l2(student, teacher, 0.5), listed)
    fine = quantized_region_l2(student.double(), teacher.double(), 1e-7)
    torch.testing.assert_close(fine, region_l2(student.double(), teacher.double()), rtol=1e-5, atol=0)


def test_the_gradient_is_that_of_mimic_at_the_bins():
    """The straight-through gradient is that of region_l2 at the quantized values, by finite differences."""
    student = (torch.randn(2, 3, 2, 2).double() * 2).requires_grad_()
    teacher = (torch.randn(2, 3, 2, 2).double() * 2).requires_grad_()
    quantized_region_l2(student, teacher, 0.5).backward()
    at, target = quantize(student, 0.5).detach(), quantize(teacher, 0.5).detach()
    student_side = student.detach() >= 0
    expected = torch.zeros_like(at)
    for index in np.ndindex(*at.shape):
        shift = torch.zeros_like(at)
        shift[index] = 1e-4
        expected[index] = (region_l2(at + shift, target) - region_l2(at - shift, target)) / 2e-4
    torch.testing.assert_close(student.grad, expected * student_side, rtol=1e-6, atol=1e-9)
    assert teacher.grad is None


def test_no_regions_one_pixel_and_misuse():
    nothing = torch.randn(0, 4, 7, 7, requires_grad=True)
    value = quantized_region_l2(nothing, torch.randn(0, 4, 7, 7), 1.0)
    value.backward()
    assert value.item() == 0
    assert nothing.grad is not None
    assert quantized_region_l2([], [], 1.0).item() == 0
    pixel = torch.full((1, 1, 1, 1), 2.2), torch.full((1, 1, 1, 1), 0.7)
    assert quantized_region_l2(*pixel, 1.0).item() == 0.5
    with pytest.raises(ValueError, match="differ in shape"):
        quantized_region_l2(torch.zeros(2, 3, 1, 1), torch.zeros(2, 1, 1, 1), 1.0)
