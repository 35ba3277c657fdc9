"""The cells of a padded batch that cover an image, and means over these cells."""

from __future__ import annotations

import pytest
import torch

from kdbench.distill import Targets, mean_or_zero, mean_square, valid_cells

SIZES = ((64, 33), (17, 96))
IMAGE = (64, 96)


def test_a_cell_is_valid_if_it_touches_its_image():
    fine, coarse = valid_cells([torch.zeros(2, 3, 8, 12), torch.zeros(2, 3, 2, 3)], SIZES, [8, 32])
    assert fine.shape == (2, 8, 12)
    assert [int(image.sum()) for image in fine] == [8 * 5, 3 * 12]
    assert fine[0, :, :5].all()
    assert fine[1, :3].all()
    assert [int(image.sum()) for image in coarse] == [2 * 2, 1 * 3]


def test_without_sizes_every_cell_is_valid():
    (cells,) = valid_cells([torch.zeros(2, 3, 4, 5, 6)], (), [8])
    assert cells.shape == (2, 5, 6)
    assert cells.all()


def test_targets_know_the_cells_and_say_nothing_where_no_image_is_padded():
    maps = [torch.zeros(2, 3, 8, 12), torch.zeros(2, 3, 1, 1)]
    padded = Targets((), (), None, IMAGE, sizes=SIZES)
    expected = valid_cells(maps, SIZES, [8, 128])
    assert all(torch.equal(*pair) for pair in zip(padded.valid(maps), expected, strict=True))
    assert Targets((), (), None, IMAGE).valid(maps) == [None, None]


@pytest.mark.parametrize("filler", [5.0, 1e30, float("nan")])
def test_what_is_in_the_padding_changes_nothing(filler):
    torch.manual_seed(0)
    (cells,) = valid_cells([torch.zeros(2, 3, 8, 12)], SIZES, [8])
    student, teacher = torch.randn(2, 3, 8, 12), torch.randn(2, 3, 8, 12)
    kept = cells[:, None].expand_as(student)
    expected = (student - teacher)[kept].square().mean()
    student = torch.where(kept, student, filler).requires_grad_()
    value = mean_square(student, teacher, cells)
    value.backward()
    torch.testing.assert_close(value, expected)
    assert torch.equal(student.grad != 0, kept)
    torch.testing.assert_close(mean_or_zero((student - teacher).square(), cells[:, None]), expected)


def test_no_valid_cell_gives_exactly_zero():
    student = torch.randn(1, 2, 3, 3, requires_grad=True)
    value = mean_square(student, torch.zeros(1, 2, 3, 3), torch.zeros(1, 3, 3, dtype=torch.bool))
    value.backward()
    assert value.item() == 0
    assert not student.grad.any()
