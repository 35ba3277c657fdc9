import math

import numpy as np
import pytest
import torch

from kdbench.openmmlab import ops
from kdbench.openmmlab.ops.rois import roi_pool_forward

ROIS = [
    [0, 1.0, 2.0, 9.0, 13.0],
    [1, 0.0, 0.0, 15.5, 3.25],
    [1, -4.0, -4.0, 40.0, 40.0],
    [0, 30.0, 30, 31, 31],
]


def pool(feature, rois, size=(2, 3), scale=0.5):
    output = feature.new_zeros(len(rois), feature.shape[1], *size)
    argmax = output.new_zeros(output.shape, dtype=torch.int)
    roi_pool_forward(
        feature, rois, output, argmax, pooled_height=size[0], pooled_width=size[1], spatial_scale=scale
    )
    return output, argmax


def reference(feature, rois, size, scale):
    shape = (len(rois), feature.shape[1], *size)
    result, where = np.zeros(shape), np.full(shape, -1)
    height, width = feature.shape[-2:]
    for n, c, i, j in np.ndindex(shape):
        image, x1, y1, x2, y2 = rois[n]
        x1, y1, x2, y2 = x1 * scale, y1 * scale, (x2 + 1) * scale, (y2 + 1) * scale
        rows = range(
            max(math.floor(y1 + i * (y2 - y1) / size[0]), 0),
            min(math.ceil(y1 + (i + 1) * (y2 - y1) / size[0]), height),
        )
        columns = range(
            max(math.floor(x1 + j * (x2 - x1) / size[1]), 0),
            min(math.ceil(x1 + (j + 1) * (x2 - x1) / size[1]), width),
        )
        best = max(((feature[int(image), c, y, x], -y, -x) for y in rows for x in columns), default=None)
        if best is not None:
            result[n, c, i, j], where[n, c, i, j] = best[0], -best[1] * width - best[2]
    return result, where


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_forward_is_the_definition(ties, scale):
    feature = torch.randn(2, 3, 8, 9)
    if ties:
        feature = feature.round()
    output, argmax = pool(feature, torch.tensor(ROIS), scale=scale)
    values, where = reference(feature.numpy(), ROIS, (2, 3), scale)
    np.testing.assert_array_equal(output, values)
    np.testing.assert_array_equal(argmax, where)


def test_corners_are_not_rounded():
    # 1.5 .. 4 pixels across in two bins: [1.5, 2.75) covers pixels 1, 2 and [2.75, 4) pixels 2, 3.
    row = torch.tensor([[9.0, 5.0, 1.0, 2.0, 7.0, 8.0]]).reshape(1, 1, 1, 6)
    output, _ = pool(row, torch.tensor([[0.0, 3, 0, 7, 1]]), size=(1, 2), scale=0.5)
    assert output.flatten().tolist() == [5.0, 2.0]


def test_rois_without_area_give_zero_and_no_gradient():
    ops.install()
    from mmcv.ops import roi_pool

    if ops.in_use() == "mmcv":
        pytest.skip("mmcv's compiled RoIPool has no CPU kernel")
    feature = torch.ones(1, 1, 4, 4, requires_grad=True)
    output = roi_pool(feature, torch.tensor([[0.0, 3, 3, 1, 1], [0, 3, 0, 1, 3]]), (2, 2), 1.0)
    output.sum().backward()
    assert output.abs().sum() == 0
    assert feature.grad.abs().sum() == 0


def test_gradients_are_right():
    ops.install()
    from mmcv.ops import roi_pool

    if ops.in_use() == "mmcv":
        pytest.skip("mmcv's compiled RoIPool has no CPU kernel")
    feature = torch.randperm(2 * 2 * 72).reshape(2, 2, 8, 9).double().requires_grad_()
    rois = torch.tensor(ROIS, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: roi_pool(x, rois, (2, 3), 0.5), [feature])


def test_empty_and_half():
    assert pool(torch.rand(2, 3, 8, 9), torch.zeros(0, 5))[0].shape == (0, 3, 2, 3)
    feature = torch.randn(2, 3, 8, 9).half()
    output, argmax = pool(feature, torch.tensor(ROIS).half())
    wide, places = pool(feature.float(), torch.tensor(ROIS).half().float())
    assert torch.equal(output, wide.half())
    assert torch.equal(argmax, places)
