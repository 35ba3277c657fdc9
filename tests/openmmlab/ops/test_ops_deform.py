import pytest
import torch
from torch.nn.functional import conv2d

from kdbench.openmmlab import ops
from kdbench.openmmlab.ops import deformable


@pytest.fixture(scope="module")
def mmcv_ops():
    ops.install()
    import mmcv.ops

    return mmcv.ops


SETTINGS = [
    {"stride": 1, "padding": 1, "dilation": 1, "groups": 1, "deform_groups": 1},
    {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2), "groups": 2, "deform_groups": 2},
]


def case(setting, dtype=torch.float64, kernel=(3, 2), batch=2):
    """Input, weight, and offsets and mask of the right size; offsets 0.3 away from whole pixels."""
    torch.manual_seed(0)
    input = torch.randn(batch, 4, 6, 7, dtype=dtype)
    weight = torch.randn(4, 4 // setting["groups"], *kernel, dtype=dtype)
    convolution = {key: value for key, value in setting.items() if key != "deform_groups"}
    height, width = conv2d(input, weight, **convolution).shape[-2:]
    points = setting["deform_groups"] * kernel[0] * kernel[1]
    whole = torch.randint(-1, 2, (batch, 2 * points, height, width))
    offset = whole + 0.3 + 0.4 * torch.rand(whole.shape, dtype=dtype)
    return input, weight, offset, torch.rand(batch, points, height, width, dtype=dtype), convolution


@pytest.mark.parametrize("setting", SETTINGS)
def test_without_offsets_it_is_a_convolution(mmcv_ops, setting):
    input, weight, offset, mask, convolution = case(setting)
    bias = torch.randn(4, dtype=torch.float64)
    zero = torch.zeros_like(offset)
    plain = mmcv_ops.deform_conv2d(input, zero, weight, *setting.values())
    torch.testing.assert_close(plain, conv2d(input, weight, **convolution))
    modulated = mmcv_ops.modulated_deform_conv2d(
        input, zero, torch.ones_like(mask), weight, bias, *setting.values()
    )
    torch.testing.assert_close(modulated, conv2d(input, weight, bias, **convolution))


def test_an_offset_moves_rows_before_columns(mmcv_ops):
    image = torch.arange(25.0).reshape(1, 1, 5, 5)
    offset = torch.zeros(1, 2, 5, 5)
    offset[:, 0] = 1.0
    moved = mmcv_ops.deform_conv2d(image, offset, torch.ones(1, 1, 1, 1))
    assert torch.equal(moved[0, 0, :4], image[0, 0, 1:])
    assert moved[0, 0, 4].abs().sum() == 0


@pytest.mark.parametrize("setting", SETTINGS)
def test_gradients_of_the_plain_one(mmcv_ops, setting):
    input, weight, offset, _, _ = case(setting)
    inputs = [tensor.requires_grad_() for tensor in (input, offset, weight)]
    assert torch.autograd.gradcheck(
        lambda *given: mmcv_ops.deform_conv2d(*given, *setting.values()), inputs, fast_mode=True
    )


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("with_bias", [True, False])
def test_gradients_of_the_modulated_one(mmcv_ops, setting, with_bias):
    input, weight, offset, mask, _ = case(setting)
    inputs = [tensor.requires_grad_() for tensor in (input, offset, mask, weight)]
    inputs += [torch.randn(4, dtype=torch.float64, requires_grad=True)] if with_bias else [None]
    assert torch.autograd.gradcheck(
        lambda *given: mmcv_ops.modulated_deform_conv2d(*given, *setting.values()), inputs, fast_mode=True
    )


def test_no_images():
    input, weight, offset, mask, _ = (
        part[:0] if torch.is_tensor(part) else part for part in case(SETTINGS[0])
    )
    weight, none = torch.randn(4, 4, 3, 2, dtype=torch.float64), torch.empty(0, dtype=torch.float64)
    sizes = dict.fromkeys(modulated_sizes(), 1) | {"with_bias": False}
    output = torch.zeros(0, 4, *offset.shape[-2:], dtype=torch.float64)
    deformable.modulated_deform_conv_forward(input, weight, none, none, offset, mask, output, none, **sizes)
    gradients = [torch.full_like(part, torch.nan) for part in (input, weight, none, offset, mask)]
    deformable.modulated_deform_conv_backward(
        input, weight, none, none, offset, mask, none, *gradients, output, **sizes
    )
    assert torch.equal(gradients[1], torch.zeros_like(weight))


def modulated_sizes():
    axes = [f"{name}_{axis}" for name in ("kernel", "stride", "pad", "dilation") for axis in "hw"]
    return [*axes, "group", "deformable_group"]


def test_half_precision(mmcv_ops):
    if ops.in_use() == "mmcv":
        pytest.skip("mmcv's compiled deformable convolution has no half precision on the CPU")
    input, weight, offset, mask, _ = (
        tensor.half() if torch.is_tensor(tensor) else tensor for tensor in case(SETTINGS[0])
    )
    wide = [tensor.float() for tensor in (input, offset, weight)]
    plain = mmcv_ops.deform_conv2d(input, offset, weight, *SETTINGS[0].values())
    assert torch.equal(plain, mmcv_ops.deform_conv2d(*wide, *SETTINGS[0].values()).half())
    modulated = mmcv_ops.modulated_deform_conv2d(input, offset, mask, weight, None, *SETTINGS[0].values())
    assert modulated.dtype == torch.half
