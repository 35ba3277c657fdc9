from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdbench_papers.fine_grained import losses
from kdbench_papers.fine_grained.losses import (
    box_masks,
    imitation_loss,
    imitation_mask,
    pyramid_masks,
    scaled,
)


def anchors_of(grid, stride, sizes):
    """Return anchors in row-major (y, x, a) order, centred on the upper left corners of their cells."""
    rows = [
        [x * stride - w / 2, y * stride - h / 2, x * stride + w / 2, y * stride + h / 2]
        for y in range(grid[0])
        for x in range(grid[1])
        for w, h in sizes
    ]
    return np.array(rows)


def iou(box, anchor):
    """Return the intersection over union of two boxes, 0 if the first has no area."""
    width = max(min(box[2], anchor[2]) - max(box[0], anchor[0]), 0)
    height = max(min(box[3], anchor[3]) - max(box[1], anchor[1]), 0)
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (box, anchor)]
    return width * height / (areas[0] + areas[1] - width * height)


def reference(anchors, boxes, count, grid, threshold):
    """Follow the paper's section 3.2, one box, one location and one anchor at a time."""
    mask = np.zeros(grid, dtype=bool)
    for box in boxes:
        overlaps = [iou(box, anchor) for anchor in anchors]
        limit = threshold * max(overlaps)
        for index, overlap in enumerate(overlaps):
            if overlap > limit:
                mask[np.unravel_index(index // count, grid)] = True
    return mask


sides = st.floats(2, 60, width=16)
corners = st.floats(-20, 60, width=16)
boxes_of = st.lists(st.tuples(corners, corners, sides, sides), max_size=4).map(
    lambda rows: np.array([[x, y, x + w, y + h] for x, y, w, h in rows]).reshape(-1, 4)
)
sizes_of = st.lists(st.tuples(sides, sides), min_size=1, max_size=3)
grids = st.tuples(st.integers(1, 5), st.integers(1, 6))


@settings(max_examples=80, deadline=None)
@given(boxes_of, sizes_of, grids, st.sampled_from([4, 8, 16]), st.sampled_from([0, 0.25, 0.5, 0.75, 1]))
def test_the_region_equals_the_definition(boxes, sizes, grid, stride, threshold):
    anchors = anchors_of(grid, stride, sizes)
    mask = imitation_mask(torch.from_numpy(anchors), torch.from_numpy(boxes), len(sizes), grid, threshold)
    assert mask.dtype == torch.bool
    np.testing.assert_array_equal(mask.numpy(), reference(anchors, boxes, len(sizes), grid, threshold))


def test_the_region_by_hand():
    anchors = torch.from_numpy(anchors_of((3, 4), 8, [(8, 8)]))
    box = anchors[5:6]
    found = imitation_mask(anchors, box, 1, (3, 4))
    assert found.nonzero().tolist() == [[1, 1]]
    # Neighbours at a distance of half a side have IoU 1 / 3, which is more than psi = 0.3 times the best IoU, 1.
    dense = torch.from_numpy(anchors_of((3, 4), 4, [(8, 8)]))
    assert imitation_mask(dense, dense[5:6], 1, (3, 4), 0.3).sum() == 5
    assert imitation_mask(dense, dense[5:6], 1, (3, 4), 1 / 3 + 1e-6).sum() == 1


def test_the_limits_of_the_threshold():
    anchors = torch.from_numpy(anchors_of((4, 4), 8, [(8, 8), (12, 6)]))
    boxes = torch.tensor([[2.0, 2, 11, 13]])
    assert not imitation_mask(anchors, boxes, 2, (4, 4), 1.0).any()
    touched = imitation_mask(anchors, boxes, 2, (4, 4), 0.0)
    np.testing.assert_array_equal(touched.numpy(), reference(anchors.numpy(), boxes.numpy(), 2, (4, 4), 0))
    assert 0 < touched.sum() < 16


@pytest.mark.parametrize(
    "boxes",
    [
        torch.zeros(0, 4),
        torch.tensor([[3.0, 3, 3, 9]]),
        torch.tensor([[3.0, 3, 3, 3]]),
        torch.tensor([[9.0, 9, 3, 3]]),
        torch.tensor([[900.0, 900, 990, 990]]),
    ],
)
@pytest.mark.parametrize("threshold", [0, 0.5])
def test_boxes_that_add_nothing(boxes, threshold):
    anchors = torch.from_numpy(anchors_of((3, 3), 8, [(8, 8)])).float()
    assert not imitation_mask(anchors, boxes, 1, (3, 3), threshold).any()
    assert not pyramid_masks([anchors], [boxes, boxes], [(3, 3)], threshold)[0].any()
    assert not box_masks([anchors], [boxes, boxes], [(3, 3)], [8])[0].any()
    other = torch.tensor([[4.0, 4, 12, 12]])
    both = torch.cat([boxes, other])
    alone = imitation_mask(anchors, other, 1, (3, 3), threshold)
    assert torch.equal(imitation_mask(anchors, both, 1, (3, 3), threshold), alone)
    assert torch.equal(pyramid_masks([anchors], [both], [(3, 3)], threshold)[0][0], alone)


def test_a_wrong_number_of_anchors_is_refused():
    with pytest.raises(ValueError, match=r"9 anchors are not 2 on each cell of a \(3, 3\) grid"):
        imitation_mask(torch.zeros(9, 4), torch.zeros(0, 4), 2, (3, 3))


def test_half_precision_boxes_and_other_layouts():
    anchors = torch.from_numpy(anchors_of((4, 5), 8, [(16, 16), (8, 24)])).float()
    boxes = torch.tensor([[3.0, 5, 20, 24], [14, 2, 33, 28]])
    mask = imitation_mask(anchors, boxes, 2, (4, 5))
    assert torch.equal(imitation_mask(anchors.bfloat16(), boxes.bfloat16(), 2, (4, 5)), mask)
    assert torch.equal(imitation_mask(anchors.T.contiguous().T, boxes.T.contiguous().T, 2, (4, 5)), mask)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(imitation_mask(anchors, boxes, 2, (4, 5)), mask)
        assert torch.equal(pyramid_masks([anchors], [boxes], [(4, 5)])[0][0], mask)


PYRAMID = (((6, 8), 8), ((3, 4), 16), ((2, 2), 32))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(boxes_of, min_size=1, max_size=3),
    sizes_of,
    st.sampled_from([0.25, 0.5]),
    st.sampled_from([1, 200, 1 << 24]),
)
def test_a_pyramid_is_a_region_a_level_of_the_boxes_assigned_to_it(boxes, sizes, threshold, table):
    grids, strides = [grid for grid, _ in PYRAMID], [stride for _, stride in PYRAMID]
    scaled = [[(w * s / 8, h * s / 8) for w, h in sizes] for s in strides]
    anchors = [
        torch.from_numpy(anchors_of(g, s, z)).float() for g, s, z in zip(grids, strides, scaled, strict=True)
    ]
    truth = [torch.from_numpy(part).float() for part in boxes]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(losses, "LARGEST_TABLE", table)
        masks = pyramid_masks(anchors, truth, grids, threshold)
    assert [mask.shape for mask in masks] == [(len(boxes), *grid) for grid in grids]
    for image, part in enumerate(truth):
        best = [[max(iou(box, a) for a in level.numpy()) for level in anchors] for box in part.numpy()]
        own = torch.tensor([int(np.argmax(row)) for row in best], dtype=torch.long)
        for level, (grid, mask) in enumerate(zip(grids, masks, strict=True)):
            mine = part[own == level]
            expected = imitation_mask(anchors[level], mine, len(sizes), grid, threshold)
            assert torch.equal(mask[image], expected)


def test_equal_levels_give_the_finest():
    anchors = torch.from_numpy(anchors_of((2, 2), 16, [(16, 16)])).float()
    fine, coarse = pyramid_masks([anchors, anchors], [anchors[3:]], [(2, 2), (2, 2)])
    assert fine.sum() == 1
    assert not coarse.any()


@settings(max_examples=40, deadline=None)
@given(st.lists(boxes_of, min_size=1, max_size=3))
def test_box_masks_are_the_touched_cells(boxes):
    grids, strides = [grid for grid, _ in PYRAMID], [stride for _, stride in PYRAMID]
    anchors = [torch.from_numpy(anchors_of(g, s, [(2 * s, 2 * s)])).float() for g, s in PYRAMID]
    truth = [torch.from_numpy(part).float() for part in boxes]
    masks = box_masks(anchors, truth, grids, strides)
    expected = [np.zeros((len(boxes), *grid), dtype=bool) for grid in grids]
    for image, part in enumerate(truth):
        for box in part.numpy():
            best = [max(iou(box, a) for a in level.numpy()) for level in anchors]
            own = int(np.argmax(best))
            if max(best) == 0:
                continue
            (height, width), stride = PYRAMID[own]
            left, top = (int(min(max(box[i] // stride, 0), n - 1)) for i, n in ((0, width), (1, height)))
            right = int(max(min(-(-box[2] // stride), width), left + 1))
            bottom = int(max(min(-(-box[3] // stride), height), top + 1))
            expected[own][image, top:bottom, left:right] = True
    for mask, truth_mask in zip(masks, expected, strict=True):
        np.testing.assert_array_equal(mask.numpy(), truth_mask)


def loss_reference(student, teacher, mask):
    """Compute 1 / 2N_p sum_ij I_ij sum_c (s - t)^2, one element at a time."""
    total = 0.0
    for b, i, j in zip(*np.nonzero(mask), strict=True):
        total += sum((student[b, c, i, j] - teacher[b, c, i, j]) ** 2 for c in range(student.shape[1]))
    return total / (2 * mask.sum()) if mask.any() else 0.0


shapes = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4))


@settings(max_examples=60, deadline=None)
@given(shapes, st.floats(0, 1), st.integers(0, 2**31))
def test_the_loss_equals_the_definition(shape, share, seed):
    draw = np.random.default_rng(seed)
    student, teacher = draw.normal(0, 5, shape), draw.normal(0, 5, shape)
    mask = draw.random((shape[0], *shape[2:])) < share
    value = imitation_loss(*(torch.from_numpy(part) for part in (student, teacher, mask)))
    assert value.dtype == torch.float64
    assert value.item() == pytest.approx(loss_reference(student, teacher, mask))


def example():
    torch.manual_seed(0)
    mask = torch.zeros(2, 3, 4, dtype=torch.bool)
    mask[0, 1, 2] = mask[1, :, 0] = True
    return torch.randn(2, 5, 3, 4).double().requires_grad_(), torch.randn(2, 5, 3, 4).double(), mask


def test_gradient_is_exactly_zero_outside_and_not_inside():
    student, teacher, mask = example()
    teacher.requires_grad_()
    assert torch.autograd.gradcheck(lambda value: imitation_loss(value, teacher.detach(), mask), student)
    imitation_loss(student, teacher, mask).backward()
    assert teacher.grad is None
    grad = student.grad.movedim(1, -1)
    assert torch.equal(grad[~mask], torch.zeros_like(grad[~mask]))
    assert (grad[mask] != 0).all()


def test_what_is_not_finite_outside_does_no_harm():
    student, teacher, mask = example()
    expected = imitation_loss(student, teacher, mask)
    with torch.no_grad():
        student[0, 0, 0, 0], teacher[1, 1, 1, 1] = float("inf"), float("nan")
    value = imitation_loss(student, teacher, mask)
    value.backward()
    torch.testing.assert_close(value, expected)
    assert torch.isfinite(student.grad).all()


def test_an_empty_mask_is_zero_with_a_valid_gradient():
    student, teacher, mask = example()
    value = imitation_loss(student, teacher, torch.zeros_like(mask))
    value.backward()
    assert value.item() == 0
    assert not student.grad.any()


def test_autocast_and_other_layouts():
    student, teacher, mask = example()
    student, teacher = student.detach().bfloat16(), teacher.bfloat16()
    exact = imitation_loss(student.float(), teacher.float(), mask)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = imitation_loss(student, teacher, mask)
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, exact)
    strided = [value.float().to(memory_format=torch.channels_last) for value in (student, teacher)]
    torch.testing.assert_close(imitation_loss(*strided, mask.mT.contiguous().mT), exact)


def test_misfits_are_refused():
    student, teacher, mask = example()
    with pytest.raises(ValueError, match="differ in shape"):
        imitation_loss(student, teacher[:, :1], mask)
    with pytest.raises(ValueError, match=r"mask \(1, 3, 4\) does not fit maps"):
        imitation_loss(student, teacher, mask[:1])


def test_boxes_are_scaled_around_their_centres():
    boxes = torch.tensor([[10.0, 20, 30, 60], [0, 0, 4, 4]])
    assert scaled(boxes, 2.0).tolist() == [[0, 0, 40, 80], [-2, -2, 6, 6]]
    assert scaled(boxes, 1.0) is boxes
