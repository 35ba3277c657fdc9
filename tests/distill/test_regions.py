from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kdbench.distill import (
    as_rois,
    assign_levels,
    at_least_float32,
    largest_overlap,
    mean_or_zero,
    pooled_regions,
    region_means,
    stride_of,
    student_and_teacher,
)


@given(st.integers(32, 1400), st.integers(32, 1400), st.integers(0, 5))
def test_stride_survives_odd_sizes(height, width, power):
    features = torch.empty(1, 1, -(-height // 2**power), -(-width // 2**power))
    if max(features.shape[-2:]) > 1:
        assert stride_of(features, (height, width)) == 2**power


@pytest.mark.parametrize(("size", "stride"), [((100, 140), 8), ((600, 1000), 16), ((375, 500), 32)])
def test_stride_of_a_network_that_rounds_down(size, stride):
    assert stride_of(torch.empty(1, 1, size[0] // stride, size[1] // stride), size) == stride


def test_stride_is_at_least_one():
    assert stride_of(torch.empty(1, 1, 64, 64), (32, 32)) == 1


@pytest.mark.parametrize(
    ("side", "level"), [(0, 0), (10, 0), (111.9, 0), (112.1, 1), (223, 1), (225, 2), (450, 3), (5000, 3)]
)
def test_levels_are_those_of_mmdet(side, level):
    box = torch.tensor([[5.0, 7.0, 5.0 + side, 7.0 + side]])
    assert assign_levels(box, 4, 56).tolist() == [level]


def test_levels_use_the_area():
    assert assign_levels(torch.tensor([[0.0, 0, 50, 800], [9, 9, 3, 3]]), 4, 56).tolist() == [1, 0]


def test_overlap_by_hand():
    boxes = torch.tensor([[0.0, 0, 2, 2], [10, 10, 12, 12], [3, 3, 3, 3]])
    others = torch.tensor([[1.0, 0, 3, 2], [0, 0, 2, 1], [3, 3, 3, 3]])
    torch.testing.assert_close(largest_overlap(boxes, others), torch.tensor([0.5, 0.0, 0.0]))
    assert largest_overlap(boxes, others[:0]).tolist() == [0, 0, 0]
    assert largest_overlap(boxes[:0], others).shape == (0,)


def test_pooled_plane_is_read_at_the_bins_centres():
    # Bilinear interpolation is exact on a plane: each pooled value is the plane at its bin's centre.
    y, x = torch.meshgrid(torch.arange(20.0), torch.arange(24.0), indexing="ij")
    plane = (2 * x - 3 * y)[None, None].double()
    roi = torch.tensor([[0.0, 16, 24, 80, 104]])
    pooled = pooled_regions(plane, roi, 8, 4)[0, 0].numpy()
    centres_x = 2 + (np.arange(4) + 0.5) * 8 / 4 - 0.5
    centres_y = 3 + (np.arange(4) + 0.5) * 10 / 4 - 0.5
    np.testing.assert_allclose(pooled, 2 * centres_x[None, :] - 3 * centres_y[:, None])


def test_pooled_empty_and_half():
    features = torch.randn(1, 3, 4, 4, requires_grad=True)
    none = pooled_regions(features, torch.zeros(0, 5), 8, 7)
    assert none.shape == (0, 3, 7, 7)
    none.sum().backward()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert pooled_regions(features.bfloat16(), torch.zeros(1, 5), 8, 7).dtype == torch.float32


def test_region_means_by_hand():
    values = torch.arange(12.0).reshape(1, 3, 4)
    rois = torch.tensor(
        [[0.0, 0, 0, 8, 8], [0, 7, 7, 9, 9], [0, 12, 4, 12, 4], [0, 0, 0, 999, 999], [0, -9, -9, -1, -1]]
    )
    torch.testing.assert_close(region_means(values, rois, 4), torch.tensor([2.5, 7.5, 7.0, 5.5, 0.0]))


def test_rois_of_images():
    rois = as_rois([torch.ones(1, 4), torch.zeros(0, 4), torch.full((2, 4), 2.0)])
    assert rois[:, 0].tolist() == [0, 2, 2]
    assert rois[1, 1:].tolist() == [2, 2, 2, 2]


def test_precision_teacher_and_mean():
    assert at_least_float32(torch.zeros(1).half()).dtype == torch.float32
    assert at_least_float32(torch.zeros(1).double()).dtype == torch.float64
    student, teacher = student_and_teacher(
        torch.zeros(2, requires_grad=True), torch.ones(2, requires_grad=True)
    )
    assert student.requires_grad
    assert not teacher.requires_grad
    empty = torch.zeros(0, 3, requires_grad=True)
    mean_or_zero(empty).backward()
    assert empty.grad is not None
    assert mean_or_zero(torch.tensor([1.0, 3.0])).item() == 2
