import pytest
import torch

from kdbench.openmmlab import ops
from kdbench.openmmlab.ops.deformable import ms_deform_attn_forward

SHAPES = torch.tensor([[4, 5], [2, 3]])
STARTS = torch.tensor([0, 20])


@pytest.fixture(scope="module", autouse=True)
def stand_in():
    if ops.install() == "mmcv":
        pytest.skip("mmcv's compiled attention has no CPU kernel")


def case(dtype=torch.float64):
    torch.manual_seed(0)
    value = torch.randn(2, 26, 3, 4, dtype=dtype)
    locations = torch.rand(2, 7, 3, 2, 2, 2, dtype=dtype)
    weights = torch.rand(2, 7, 3, 2, 2, dtype=dtype)
    return value, locations, weights


def test_a_sample_at_a_pixel_centre_is_that_pixel():
    value, _, _ = case()
    locations = torch.zeros(2, 1, 3, 2, 1, 2, dtype=torch.float64)
    locations[:, :, :, 0, :, 0], locations[:, :, :, 0, :, 1] = 3.5 / 5, 1.5 / 4  # row 1, column 3
    locations[:, :, :, 1, :, 0], locations[:, :, :, 1, :, 1] = 0.5 / 3, 1.5 / 2  # row 1, column 0
    weights = torch.tensor([1.0, 10.0], dtype=torch.float64).reshape(1, 1, 1, 2, 1).expand(2, 1, 3, 2, 1)
    output = ms_deform_attn_forward(value, SHAPES, STARTS, locations, weights, im2col_step=64)
    torch.testing.assert_close(output[:, 0], (value[:, 5 + 3] + 10 * value[:, 20 + 3]).flatten(1))


def test_gradients_are_right():
    from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction

    value, locations, weights = (tensor.requires_grad_() for tensor in case())
    assert torch.autograd.gradcheck(
        lambda v, s, w: MultiScaleDeformableAttnFunction.apply(v, SHAPES, STARTS, s, w, 64),
        [value, locations, weights],
        fast_mode=True,
    )


def test_half_precision():
    half = [tensor.half() for tensor in case()]
    output = ms_deform_attn_forward(half[0], SHAPES, STARTS, *half[1:], im2col_step=64)
    wide = [tensor.float() for tensor in half]
    assert torch.equal(
        output, ms_deform_attn_forward(wide[0], SHAPES, STARTS, *wide[1:], im2col_step=64).half()
    )
