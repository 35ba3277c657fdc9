"""The loss compared with an independent derivation, in float64 and with numpy only."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from kdbench_cwd.losses import channel_l2_loss, channel_wise_loss

SHAPES = [(2, 3, 4, 5), (1, 1, 1, 7), (3, 2, 6, 1)]


def maps(*shape: int, seed: int = 0, scale: float = 3.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(*shape, generator=generator, dtype=torch.float64)


def expected(student: Tensor, teacher: Tensor, temperature: float) -> float:
    """Compute T^2 / (N C) sum_nc sum_i p_i log(p_i / q_i), position by position."""
    images, channels = student.shape[:2]
    total = 0.0
    for image in range(images):
        for channel in range(channels):
            p = np.exp(teacher[image, channel].numpy().ravel() / temperature)
            q = np.exp(student[image, channel].numpy().ravel() / temperature)
            p, q = p / p.sum(), q / q.sum()
            total += float(sum(a * np.log(a / b) for a, b in zip(p, q, strict=True)))
    return temperature**2 * total / (images * channels)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_equals_its_definition(shape: tuple[int, ...], temperature: float) -> None:
    student, teacher = maps(*shape), maps(*shape, seed=1)
    value = channel_wise_loss(student, teacher, temperature)
    assert value.item() == pytest.approx(expected(student, teacher, temperature), rel=1e-10)
    single = channel_wise_loss(student.float(), teacher.float(), temperature)
    assert single.dtype == torch.float32
    assert single.item() == pytest.approx(value.item(), rel=1e-4)


def test_the_teacher_comes_first() -> None:
    """KL is not symmetric: a student that responds everywhere is better than one that responds elsewhere."""
    student, teacher = maps(1, 1, 3, 3), maps(1, 1, 3, 3, seed=1)
    there, back = channel_wise_loss(student, teacher), channel_wise_loss(teacher, student)
    assert there.item() == pytest.approx(expected(student, teacher, 1.0))
    assert there.item() != pytest.approx(back.item())


def test_gradient_by_finite_differences_and_none_for_the_teacher() -> None:
    student, teacher = maps(2, 2, 2, 3).requires_grad_(), maps(2, 2, 2, 3, seed=1).requires_grad_()
    fixed = teacher.detach()
    assert torch.autograd.gradcheck(lambda value: channel_wise_loss(value, fixed, 2.0), student)
    channel_wise_loss(student, teacher).backward()  # type: ignore[no-untyped-call]
    assert student.grad is not None
    assert teacher.grad is None


def test_equal_maps_and_a_constant_more_give_zero() -> None:
    student = maps(2, 3, 4, 4).requires_grad_()
    shifted = student.detach() + torch.arange(6.0).view(2, 3, 1, 1)
    value = channel_wise_loss(student, shifted)
    value.backward()  # type: ignore[no-untyped-call]
    assert value.item() == pytest.approx(0, abs=1e-12)
    assert student.grad is not None
    assert student.grad.abs().max() < 1e-12


@pytest.mark.parametrize("shape", [(0, 3, 2, 2), (2, 0, 2, 2), (2, 3, 0, 4), (2, 3, 1, 1)])
def test_nothing_and_one_pixel_give_exactly_zero(shape: tuple[int, ...]) -> None:
    student = torch.randn(shape, requires_grad=True)
    value = channel_wise_loss(student, torch.randn(shape))
    value.backward()  # type: ignore[no-untyped-call]
    assert value.item() == 0
    assert student.grad is not None
    assert not student.grad.any()


def test_large_values_stay_finite() -> None:
    student, teacher = maps(1, 2, 4, 4, scale=1e4).float().requires_grad_(), maps(1, 2, 4, 4, seed=1).float()
    value = channel_wise_loss(student, teacher)
    value.backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(value)
    assert student.grad is not None
    assert bool(torch.isfinite(student.grad).all())


def test_half_precision_and_autocast_count_in_float32() -> None:
    student, teacher = maps(2, 4, 5, 6).bfloat16(), maps(2, 4, 5, 6, seed=1).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = channel_wise_loss(student, teacher)
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, channel_wise_loss(student.float(), teacher.float()))


def test_memory_layout_does_not_matter() -> None:
    student, teacher = maps(2, 4, 5, 6), maps(2, 4, 5, 6, seed=1)
    value = channel_wise_loss(student, teacher)
    torch.testing.assert_close(channel_wise_loss(student.mT, teacher.mT), value)
    last = student.to(memory_format=torch.channels_last)
    torch.testing.assert_close(channel_wise_loss(last, teacher), value)


def test_misuse_is_refused() -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        channel_wise_loss(maps(2, 3, 4, 4), maps(2, 1, 4, 4))
    with pytest.raises(ValueError, match="must be positive"):
        channel_wise_loss(maps(1, 1, 2, 2), maps(1, 1, 2, 2), 0.0)


@pytest.mark.parametrize("unit", [True, False])
def test_the_rivals_of_the_softmax(unit: bool) -> None:
    student, teacher = maps(2, 3, 4, 5).requires_grad_(), maps(2, 3, 4, 5, seed=1).requires_grad_()
    sides = [part.detach().flatten(2) for part in (student, teacher)]
    if unit:
        sides = [side / side.square().sum(dim=2, keepdim=True).sqrt() for side in sides]
    squares = (sides[0] - sides[1]).square()
    value = channel_l2_loss(student, teacher, unit=unit)
    torch.testing.assert_close(value.detach(), squares.sum(dim=2).mean() if unit else squares.mean())
    value.backward()  # type: ignore[no-untyped-call]
    assert teacher.grad is None
    zero = torch.zeros(0, 3, 4, 5, requires_grad=True)
    assert channel_l2_loss(zero, zero.detach(), unit=unit).item() == 0
