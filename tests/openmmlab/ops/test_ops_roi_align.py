import math

import numpy as np
import pytest
import torch

from kdbench.openmmlab import ops
from kdbench.openmmlab.ops.rois import roi_align_backward, roi_align_forward

ROIS = [
    [0, 1.0, 2.0, 9.0, 14.0],
    [1, 0.0, 0.0, 15.5, 3.25],
    [0, 6.3, 6.7, 7.1, 7.2],
    [1, -4.0, -4.0, 30.0, 30.0],
]


def sample(image, y, x):
    """Bilinear sample as RoIAlign defines it: 0 beyond one pixel outside, the edge's value within it."""
    height, width = image.shape
    if y < -1 or y > height or x < -1 or x > width:
        return 0.0
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    y0, x0 = math.floor(y), math.floor(x)
    y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
    top = image[y0, x0] * (1 - (x - x0)) + image[y0, x1] * (x - x0)
    bottom = image[y1, x0] * (1 - (x - x0)) + image[y1, x1] * (x - x0)
    return top * (1 - (y - y0)) + bottom * (y - y0)


def reference(feature, rois, size, scale, ratio, aligned):
    result = np.zeros((len(rois), feature.shape[1], *size))
    for n, (image, *corners) in enumerate(rois):
        x1, y1, x2, y2 = (value * scale - (0.5 if aligned else 0) for value in corners)
        width, height = (x2 - x1, y2 - y1) if aligned else (max(x2 - x1, 1), max(y2 - y1, 1))
        rows, columns = ratio or math.ceil(height / size[0]), ratio or math.ceil(width / size[1])
        for index in np.ndindex(feature.shape[1], *size):
            c, i, j = index
            values = [
                sample(
                    feature[int(image), c],
                    y1 + (i + (a + 0.5) / rows) * height / size[0],
                    x1 + (j + (b + 0.5) / columns) * width / size[1],
                )
                for a in range(rows)
                for b in range(columns)
            ]
            result[(n, *index)] = np.mean(values)
    return result


def align(feature, rois, size=(2, 3), scale=0.5, ratio=0, aligned=True, mode=1):
    output = feature.new_zeros(len(rois), feature.shape[1], *size)
    empty = feature.new_zeros(0)
    roi_align_forward(
        feature,
        rois,
        output,
        empty,
        empty,
        aligned_height=size[0],
        aligned_width=size[1],
        spatial_scale=scale,
        sampling_ratio=ratio,
        pool_mode=mode,
        aligned=aligned,
    )
    return output


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("ratio", [0, 1, 2])
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_forward_is_the_definition(aligned, ratio, scale):
    feature = torch.rand(2, 2, 8, 9, dtype=torch.float64)
    output = align(feature, torch.tensor(ROIS, dtype=torch.float64), (2, 3), scale, ratio, aligned)
    expected = reference(feature.numpy(), ROIS, (2, 3), scale, ratio, aligned)
    np.testing.assert_allclose(output, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("aligned", "value"), [(True, 3.5), (False, 4.0)])
def test_a_ramp_gives_the_centre(aligned, value):
    ramp = torch.arange(10.0).expand(1, 1, 10, 10).contiguous()
    output = align(ramp, torch.tensor([[0.0, 2, 2, 6, 6]]), (1, 1), 1.0, 0, aligned)
    assert output.item() == pytest.approx(value)


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("ratio", [0, 1, 2])
def test_gradients_are_right(aligned, ratio):
    ops.install()
    from mmcv.ops import roi_align

    feature = torch.rand(2, 2, 8, 9, dtype=torch.float64, requires_grad=True)
    rois = torch.tensor(ROIS, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda x: roi_align(x, rois, (2, 3), 0.5, ratio, "avg", aligned), [feature]
    )


def test_mmcvs_layer_runs_on_it():
    ops.install()
    from mmcv.ops import RoIAlign

    feature = torch.rand(2, 2, 8, 9)
    output = RoIAlign((2, 3), 0.5, 2, aligned=False)(feature, torch.tensor(ROIS))
    np.testing.assert_allclose(
        output, reference(feature.numpy(), ROIS, (2, 3), 0.5, 2, False), rtol=1e-5, atol=1e-6
    )


def test_no_rois_and_no_images():
    ops.install()
    from mmcv.ops import roi_align

    feature = torch.rand(2, 3, 8, 8, requires_grad=True)
    output = roi_align(feature, torch.zeros(0, 5), (7, 7), 1.0)
    assert output.shape == (0, 3, 7, 7)
    output.sum().backward()
    assert torch.equal(feature.grad, torch.zeros_like(feature))
    assert align(torch.rand(0, 3, 8, 8), torch.zeros(0, 5), (7, 7)).shape == (0, 3, 7, 7)


def test_half_precision_is_rounded_float32():
    feature, rois = torch.rand(2, 2, 8, 9).half(), torch.tensor(ROIS).half()
    assert torch.equal(align(feature, rois), align(feature.float(), rois.float()).half())
    assert torch.equal(align(feature, rois.float()), align(feature, rois))
    gradient, wide = torch.zeros_like(feature), torch.zeros(feature.shape)
    for grad, dtype in ((gradient, torch.half), (wide, torch.float)):
        empty = torch.zeros(0, dtype=dtype)
        ones = torch.ones(len(ROIS), 2, 2, 3, dtype=dtype)
        roi_align_backward(ones, rois.to(dtype), empty, empty, grad, 2, 3, 0.5, 2, 1, True)
    assert gradient.abs().sum() > 0
    assert torch.equal(gradient, wide.half())


def test_channels_last():
    feature, rois = torch.rand(2, 4, 8, 9), torch.tensor(ROIS)
    assert torch.equal(
        align(feature.contiguous(memory_format=torch.channels_last), rois), align(feature, rois)
    )


def test_max_mode_is_refused_by_name():
    with pytest.raises(NotImplementedError, match=r"roi_align_forward with pool_mode='max'.*pip install"):
        align(torch.rand(1, 1, 4, 4), torch.tensor([[0.0, 0, 0, 2, 2]]), mode=0)
