"""The loss compared with numpy's Pearson correlation, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from kdbench_pkd.losses import pearson_loss, standardised

SHAPES = [(2, 3, 4, 5), (1, 1, 1, 7), (3, 2, 6, 1)]


def maps(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(*shape, generator=generator, dtype=torch.float64) + 1


def expected(student: Tensor, teacher: Tensor) -> float:
    """Compute the mean over channels of 1 - r."""
    channels = range(student.shape[1])
    pairs = [(student[:, c].numpy().ravel(), teacher[:, c].numpy().ravel()) for c in channels]
    return float(np.mean([1 - np.corrcoef(ours, theirs)[0, 1] for ours, theirs in pairs]))


@pytest.mark.parametrize("shape", SHAPES)
def test_equals_its_definition(shape: tuple[int, ...]) -> None:
    student, teacher = maps(*shape), maps(*shape, seed=1)
    value = pearson_loss(student, teacher)
    assert value.item() == pytest.approx(expected(student, teacher), rel=1e-10)
    single = pearson_loss(student.float(), teacher.float())
    assert single.dtype == torch.float32
    assert single.item() == pytest.approx(value.item(), rel=1e-4)


def test_the_sign_counts_and_the_magnitude_does_not() -> None:
    student = maps(2, 3, 4, 4)
    scale = torch.tensor([0.01, 1.0, 100.0], dtype=torch.float64).view(1, 3, 1, 1)
    assert pearson_loss(student, scale * student + 5).item() == pytest.approx(0, abs=1e-10)
    assert pearson_loss(student, -scale * student).item() == pytest.approx(2)


def test_gradient_by_finite_differences_and_none_for_the_teacher() -> None:
    student, teacher = maps(2, 2, 2, 3).requires_grad_(), maps(2, 2, 2, 3, seed=1).requires_grad_()
    fixed = teacher.detach()
    assert torch.autograd.gradcheck(lambda value: pearson_loss(value, fixed), student)
    pearson_loss(student, teacher).backward()  # type: ignore[no-untyped-call]
    assert student.grad is not None
    assert teacher.grad is None


def test_the_batch_is_one_sample_of_each_channel() -> None:
    """Statistics are over the batch too, so images that only differ in their mean are not equal."""
    student = torch.tensor([1.0, 1.0, 5.0, 5.0]).view(2, 1, 1, 2)
    torch.testing.assert_close(standardised(student).flatten(), torch.tensor([-1.0, -1.0, 1.0, 1.0]))
    assert pearson_loss(student, student.flip(0)).item() == pytest.approx(2)


@pytest.mark.parametrize("shape", [(0, 3, 2, 2), (2, 0, 2, 2), (2, 3, 0, 4), (1, 3, 1, 1)])
def test_nothing_and_one_pixel_give_exactly_zero(shape: tuple[int, ...]) -> None:
    student = torch.randn(shape, requires_grad=True)
    value = pearson_loss(student, torch.randn(shape))
    value.backward()  # type: ignore[no-untyped-call]
    assert value.item() == 0
    assert student.grad is not None
    assert not student.grad.any()


@pytest.mark.parametrize("level", [0.0, 0.3, 1000.3, -1e6])
def test_a_channel_that_does_not_vary_counts_and_gets_no_gradient(level: float) -> None:
    """In float32 rounding gives a constant channel a small deviation, which must not be amplified."""
    student = torch.full((2, 1, 31, 33), level, requires_grad=True)
    teacher = maps(2, 1, 31, 33).float()
    value = pearson_loss(student, teacher)
    value.backward()  # type: ignore[no-untyped-call]
    assert value.item() == pytest.approx(0.5, abs=1e-5)
    assert student.grad is not None
    assert not student.grad.any()
    assert pearson_loss(student, torch.full_like(student, 7.1)).item() == 0


def test_half_precision_and_autocast_count_in_float32() -> None:
    student, teacher = maps(2, 4, 5, 6).bfloat16(), maps(2, 4, 5, 6, seed=1).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = pearson_loss(student, teacher)
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, pearson_loss(student.float(), teacher.float()))
    large = torch.tensor([60000.0, -60000.0]).half().view(1, 1, 1, 2)
    assert torch.isfinite(pearson_loss(large, -large))


def test_memory_layout_does_not_matter() -> None:
    student, teacher = maps(2, 4, 5, 6), maps(2, 4, 5, 6, seed=1)
    value = pearson_loss(student, teacher)
    torch.testing.assert_close(pearson_loss(student.mT, teacher.mT), value)
    last = student.to(memory_format=torch.channels_last)
    torch.testing.assert_close(pearson_loss(last, teacher), value)


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        pearson_loss(maps(2, 3, 4, 4), maps(2, 1, 4, 4))
