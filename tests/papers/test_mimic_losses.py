from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from kdbench_papers.mimic.losses import cropped_region_l2, region_l2


def reference(student: list[np.ndarray], teacher: list[np.ndarray]) -> float:
    """Compute 1 / 2N sum_i 1 / m_i || u_i - v_i ||^2, one element at a time."""
    total = 0.0
    for ours, theirs in zip(student, teacher, strict=True):
        total += sum((a - b) ** 2 for a, b in zip(ours.flat, theirs.flat, strict=True)) / ours.size
    return total / (2 * len(student))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_lists_equal_the_definition(data):
    shapes = data.draw(st.lists(array_shapes(min_dims=3, max_dims=3, max_side=4), min_size=1, max_size=5))
    draw = [arrays(np.float64, shape, elements=st.floats(-20, 20)) for shape in shapes]
    student, teacher = ([data.draw(values) for values in draw] for _ in range(2))
    value = region_l2([torch.from_numpy(s) for s in student], [torch.from_numpy(t) for t in teacher])
    assert value.item() == pytest.approx(reference(student, teacher))


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_a_stack_equals_its_list(data):
    shape = data.draw(array_shapes(min_dims=4, max_dims=4, max_side=4))
    values = arrays(np.float64, shape, elements=st.floats(-20, 20))
    student, teacher = torch.from_numpy(data.draw(values)), torch.from_numpy(data.draw(values))
    torch.testing.assert_close(region_l2(student, teacher), region_l2(list(student), list(teacher)))


def test_large_regions_weigh_as_small_ones():
    ours, theirs = [torch.zeros(1, 1, 1), torch.zeros(2, 9, 9)], [torch.ones(1, 1, 1), torch.zeros(2, 9, 9)]
    assert region_l2(ours, theirs).item() == 0.25


def test_gradient_and_teacher():
    student = [torch.randn(2, 3, 2).double().requires_grad_(), torch.randn(2, 1, 1).double().requires_grad_()]
    teacher = [torch.randn_like(part).requires_grad_() for part in student]
    assert torch.autograd.gradcheck(lambda *parts: region_l2(parts, teacher), student)
    stack, target = torch.randn(2, 2, 2, 2).double().requires_grad_(), torch.randn(2, 2, 2, 2).double()
    assert torch.autograd.gradcheck(lambda value: region_l2(value, target), stack)
    region_l2(student, teacher).backward()
    assert all(part.grad is None for part in teacher)


def test_no_regions_are_exactly_zero():
    student = torch.randn(0, 4, 7, 7, requires_grad=True)
    value = region_l2(student, torch.randn(0, 4, 7, 7))
    value.backward()
    assert value.item() == 0
    assert student.grad is not None
    nothing = region_l2([], [])
    nothing.backward()
    assert nothing.item() == 0


def test_regions_without_elements_do_not_count():
    empty = torch.randn(2, 0, 3, requires_grad=True)
    value = region_l2([empty, torch.ones(1, 1, 1)], [torch.randn(2, 0, 3), torch.zeros(1, 1, 1)])
    value.backward()
    assert value.item() == 0.5
    assert empty.grad is not None


def test_autocast_half_and_strides():
    student, teacher = torch.randn(3, 4, 5, 6), torch.randn(3, 4, 5, 6)
    exact = region_l2(student.bfloat16().float(), teacher.bfloat16().float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = region_l2(student.bfloat16(), teacher.bfloat16())
        listed = region_l2(list(student.bfloat16()), list(teacher.bfloat16()))
    assert low.dtype == listed.dtype == torch.float32
    torch.testing.assert_close(low, exact)
    torch.testing.assert_close(listed, exact)
    torch.testing.assert_close(region_l2(student.mT, teacher.mT), region_l2(student, teacher))


def test_misuse_is_refused():
    with pytest.raises(ValueError, match="differ in shape"):
        region_l2(torch.zeros(2, 3, 1, 1), torch.zeros(2, 1, 1, 1))
    with pytest.raises(ValueError, match="differ in shape"):
        region_l2([torch.zeros(2, 3, 1)], [torch.zeros(2, 1, 1)])
    with pytest.raises(ValueError, match="2 student regions, 1 teacher regions"):
        region_l2([torch.zeros(1)] * 2, [torch.zeros(1)])


def sliced(features: torch.Tensor, rois: list[list[float]], stride: int) -> list[torch.Tensor]:
    """Cut out the cells that each box touches, at least one, with plain slices."""
    parts = []
    height, width = features.shape[-2:]
    for image, x1, y1, x2, y2 in rois:
        left, top = min(max(int(x1 // stride), 0), width - 1), min(max(int(y1 // stride), 0), height - 1)
        right = max(min(int(-(-x2 // stride)), width), left + 1)
        bottom = max(min(int(-(-y2 // stride)), height), top + 1)
        parts.append(features[int(image), :, top:bottom, left:right])
    return parts


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 1), *[st.floats(-10, 70, width=16)] * 2, *[st.floats(0, 60, width=16)] * 2),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from([4, 8]),
)
def test_crops_equal_slices(boxes, stride):
    rois = [[image, x, y, x + w, y + h] for image, x, y, w, h in boxes]
    student, teacher = torch.randn(2, 3, 7, 5).double(), torch.randn(2, 3, 7, 5).double()
    expected = region_l2(sliced(student, rois, stride), sliced(teacher, rois, stride))
    value = cropped_region_l2(student, teacher, torch.tensor(rois), stride)
    torch.testing.assert_close(value, expected)


def test_crops_without_regions_gradient_and_autocast():
    student, teacher = torch.randn(2, 3, 4, 4).double().requires_grad_(), torch.randn(2, 3, 4, 4).double()
    rois = torch.tensor([[0.0, 3, 3, 20, 9], [1, 0, 0, 31, 31], [1, 8, 8, 8, 8]])
    assert torch.autograd.gradcheck(lambda value: cropped_region_l2(value, teacher, rois, 8), student)
    value = cropped_region_l2(student, teacher, rois[:0], 8)
    value.backward()
    assert value.item() == 0
    assert student.grad is not None
    assert not student.grad.any()
    low = student.detach().bfloat16(), teacher.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = cropped_region_l2(*low, rois, 8)
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, cropped_region_l2(low[0].float(), low[1].float(), rois, 8))
