"""The choice of the student's level for each map of a feature teacher."""

from __future__ import annotations

import pytest
import torch

from kdbench.distill.features import nearest_levels
from kdbench.errors import UserError


def maps(*sizes):
    return [torch.zeros(1, 2, size, size) for size in sizes]


@pytest.mark.parametrize(
    ("student", "teacher", "levels"),
    [
        ((32, 16, 8, 4, 2), (32, 16, 8), [0, 1, 2]),
        ((32, 16, 8, 4, 2), (16, 8, 4), [1, 2, 3]),
        ((32, 16, 8), (29, 15, 7), [0, 1, 2]),  # a patch of 9 pixels where the student's stride is 8
        ((32, 8), (16,), [0]),  # equally near: the finer level is chosen
        ((32,), (8,), [0]),  # a segmenter's only map, at stride 8
    ],
)
def test_the_nearest_in_stride(student, teacher, levels):
    assert nearest_levels(maps(*student), maps(*teacher)) == levels


def test_two_maps_for_one_level_are_refused():
    with pytest.raises(
        UserError, match=r"maps of 16 x 16, 8 x 8, the student of 8 x 8: two .* other out_indices"
    ):
        nearest_levels(maps(8), maps(16, 8))


@pytest.mark.parametrize("shape", [(1, 8, 8, 96), (1, 65, 96)], ids=["channels last", "tokens"])
def test_what_is_no_map_is_refused(shape):
    with pytest.raises(UserError, match=r"where a map \(B, C, H, W\) is due"):
        nearest_levels(maps(8), [torch.zeros(shape)])
