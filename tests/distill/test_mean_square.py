"""The fused mean square is bitwise equal to the one computed in steps."""

from __future__ import annotations

import pytest
import torch

from kdbench.distill import mean_or_zero, mean_square, student_and_teacher

SHAPES = [(8, 12, 24, 24), (3, 7, 5, 5), (1,), (0, 4, 3, 3)]


def written_out(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    student, teacher = student_and_teacher(student, teacher)
    return mean_or_zero((student - teacher).square())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_same_bits(shape, layout, dtype):
    if len(shape) != 4 and layout == torch.channels_last:
        pytest.skip("maps alone have channels")
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(shape, generator=generator).to(dtype) for _ in range(2))
    seen = []
    for mean in (mean_square, written_out):
        given = student.clone(memory_format=layout).requires_grad_()
        value = mean(given, teacher)
        (1.7 * value).backward()
        seen.append((value.detach(), given.grad))
    assert torch.equal(seen[0][0], seen[1][0])
    assert torch.equal(seen[0][1], seen[1][1])
    assert seen[0][1].stride() == seen[1][1].stride()


def test_the_teacher_gets_no_gradient_and_shapes_agree():
    student, teacher = torch.ones(2, 3, requires_grad=True), torch.zeros(2, 3, requires_grad=True)
    mean_square(student, teacher).backward()
    assert teacher.grad is None
    with pytest.raises(ValueError, match="differ in shape"):
        mean_square(student, teacher[:1])
