from __future__ import annotations

import pytest
import torch
from torch import nn

from kdbench.distill import Adapter, adapter


def test_equal_shapes_need_no_parameters():
    same = adapter((1, 4, 8, 8), (1, 4, 8, 8))
    features = torch.randn(2, 4, 6, 5)
    assert same(features, (6, 5)) is features
    assert not list(same.parameters())


@pytest.mark.parametrize("kernel", [1, 3])
def test_channels_are_convolved(kernel):
    made = adapter((1, 4, 8, 8), (1, 6, 8, 8), kernel_size=kernel)
    assert isinstance(made.conv, nn.Conv2d)
    assert made.conv.kernel_size == (kernel, kernel)
    features = torch.randn(2, 4, 5, 7)
    torch.testing.assert_close(made(features, (5, 7)), made.conv(features))


def test_always_convolves_equal_channels():
    made = adapter((1, 4, 8, 8), (1, 4, 8, 8), always=True)
    assert len(list(made.parameters())) == 2
    assert made(torch.randn(1, 4, 3, 3), (3, 3)).shape == (1, 4, 3, 3)


def test_sizes_are_interpolated_and_said():
    made = adapter((1, 4, 4, 4), (1, 4, 8, 8))
    features = torch.randn(1, 4, 3, 5)
    expected = nn.functional.interpolate(features, size=(6, 9), mode="bilinear", align_corners=False)
    torch.testing.assert_close(made(features, (6, 9)), expected)
    assert "bilinear" in repr(made)


def test_an_unforeseen_size_is_refused():
    with pytest.raises(ValueError, match="differ in size"):
        Adapter((4, 4))(torch.randn(1, 4, 3, 3), (6, 6))
