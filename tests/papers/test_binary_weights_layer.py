"""Binary weights against the paper's equations."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from kdbench.errors import UserError
from kdbench_papers.binary_weights.card import BinaryOptions
from kdbench_papers.binary_weights.layers import BinaryConv2d, binarised, convolution
from kdbench_papers.binary_weights.method import BinaryWeights


def test_a_filter_is_its_signs_times_its_mean_magnitude():
    weight = torch.tensor([[[[0.5, -1.5]], [[0.0, -2.0]]], [[[3.0, 1.0]], [[1.0, -1.0]]]])
    expected = [[[[1.0, -1.0]], [[1.0, -1.0]]], [[[1.5, 1.5]], [[1.5, -1.5]]]]
    assert binarised(weight).tolist() == expected


def test_the_gradient_is_that_of_scale_and_sign():
    draws = torch.Generator().manual_seed(0)
    weight = torch.randn(4, 3, 3, 3, generator=draws, dtype=torch.float64).requires_grad_()
    upstream = torch.randn(4, 3, 3, 3, generator=draws, dtype=torch.float64)
    binarised(weight).backward(upstream)
    for real, above, found in zip(weight.detach(), upstream, weight.grad, strict=True):
        count, scale = real.numel(), real.abs().mean()
        through_scale = real.sign() / count * (above * real.sign()).sum()
        through_sign = scale * above * (real.abs() <= 1)
        torch.testing.assert_close(found, through_scale + through_sign)
    assert (weight.abs() > 1).any()


@pytest.mark.parametrize("bias", [True, False])
def test_the_layer(bias):
    layer = BinaryConv2d(4, 6, 3, stride=2, padding=1, bias=bias)
    inputs = torch.randn(2, 4, 8, 8)
    expected = functional.conv2d(inputs, binarised(layer.weight), layer.bias, stride=2, padding=1)
    assert torch.equal(layer(inputs), expected)
    assert layer.stored_bits() == 6 * 4 * 9 + 32 * 6 * (1 + bias)
    assert layer.state_dict().keys() == nn.Conv2d(4, 6, 3, bias=bias).state_dict().keys()


def test_the_layer_that_sees_images_is_real():
    assert type(convolution(3, 8, kernel_size=7)) is nn.Conv2d
    assert type(convolution(8, 8, 3, bias=False)) is BinaryConv2d


def test_a_backbone_without_binary_layers_is_refused():
    with pytest.raises(UserError, match="no convolution of this backbone follows its conv_cfg"):
        BinaryWeights(BinaryOptions()).start(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1), [])
