from __future__ import annotations

import numpy as np
import pytest
import torch

from kdbench_papers.mgd.losses import generation_loss, random_mask


def test_the_loss_is_the_sum_of_squares_of_an_image():
    generator = np.random.default_rng(0)
    ours, theirs = generator.normal(size=(2, 2, 3, 4, 5))
    expected = sum((a - b) ** 2 for a, b in zip(ours.flat, theirs.flat, strict=True)) / 2
    value = generation_loss(torch.from_numpy(ours), torch.from_numpy(theirs))
    assert value.item() == pytest.approx(expected)


def test_the_mask_drops_cells_with_its_probability():
    features = torch.zeros(3, 4, 50, 60)
    torch.manual_seed(0)
    mask = random_mask(features, 0.65)
    assert mask.shape == (3, 1, 50, 60)
    assert set(mask.unique().tolist()) == {0, 1}
    assert mask.mean().item() == pytest.approx(0.35, abs=0.02)  # 4 deviations
    assert not torch.equal(mask, random_mask(features, 0.65))
    torch.manual_seed(0)
    assert torch.equal(mask, random_mask(features, 0.65))


def test_the_limits_of_the_ratio():
    features = torch.zeros(2, 4, 9, 9)
    assert random_mask(features, 0.0).all()
    assert not random_mask(features, 1.0).any()


def test_whole_channels():
    mask = random_mask(torch.zeros(3, 400, 5, 6), 0.5, channels=True)
    assert mask.shape == (3, 400, 1, 1)
    assert mask.mean().item() == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize(("given", "drawn"), [(torch.float16, torch.float32), (torch.float64, torch.float64)])
def test_the_mask_is_at_least_float32(given, drawn):
    assert random_mask(torch.zeros(1, 1, 2, 2, dtype=given), 0.5).dtype == drawn
