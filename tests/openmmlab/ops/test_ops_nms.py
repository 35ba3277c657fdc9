import numpy as np
import pytest
import torch
import torchvision

from kdbench.openmmlab import ops
from kdbench.openmmlab.ops.boxes import nms, softnms


def random_boxes(count, seed, size=20.0):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * size
    extent = torch.rand(count, 2, generator=generator) * size
    return torch.cat([corner, corner + extent], 1), torch.rand(count, generator=generator)


def iou(a, b, offset):
    width = max(min(a[2], b[2]) - max(a[0], b[0]) + offset, 0)
    height = max(min(a[3], b[3]) - max(a[1], b[1]) + offset, 0)
    area_a = (a[2] - a[0] + offset) * (a[3] - a[1] + offset)
    area_b = (b[2] - b[0] + offset) * (b[3] - b[1] + offset)
    return width * height / (area_a + area_b - width * height)


def greedy(boxes, scores, threshold, offset):
    kept = []
    for index in np.argsort(-scores.numpy(), kind="stable"):
        if all(iou(boxes[k].tolist(), boxes[index].tolist(), offset) <= threshold for k in kept):
            kept.append(index)
    return kept


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 0.7])
def test_nms_is_greedy(offset, threshold):
    boxes, scores = random_boxes(200, seed=int(threshold * 10))
    assert nms(boxes, scores, threshold, offset).tolist() == greedy(boxes, scores, threshold, offset)


def test_nms_without_offset_is_torchvisions():
    boxes, scores = random_boxes(300, seed=1)
    assert torch.equal(nms(boxes, scores, 0.5, 0), torchvision.ops.nms(boxes, scores, 0.5))


def test_the_offset_decides():
    # 9 x 9 and 9 x 4 pixels: IoU 36/81 = 0.44. With the last pixel 10 x 10 and 10 x 5: 0.5.
    boxes, scores = torch.tensor([[0.0, 0, 9, 9], [0, 0, 9, 4]]), torch.tensor([0.9, 0.8])
    assert nms(boxes, scores, 0.47, 0).tolist() == [0, 1]
    assert nms(boxes, scores, 0.47, 1).tolist() == [0]


def test_an_overlap_at_the_threshold_stays_as_in_mmcv():
    boxes, scores = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 6]]), torch.tensor([0.9, 0.8])
    assert nms(boxes, scores, 0.6, 0).tolist() == [0, 1]  # 0.6 as float32 is above 0.6 as float64


def test_nms_of_nothing():
    kept = nms(torch.zeros(0, 4), torch.zeros(0), 0.5, 0)
    assert kept.shape == (0,)
    assert kept.dtype == torch.long
    assert nms(torch.zeros(0, 4), torch.zeros(0), 0.5, 1).shape == (0,)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_nms_in_half_precision(dtype):
    boxes, scores = random_boxes(50, seed=2)
    boxes, scores = boxes.to(dtype), scores.to(dtype)
    assert torch.equal(nms(boxes, scores, 0.5, 0), nms(boxes.float(), scores.float(), 0.5, 0))
    assert torch.equal(nms(boxes, scores.float(), 0.5, 1), nms(boxes.float(), scores.float(), 0.5, 1))


def soft(boxes, scores, threshold, sigma, least, method, offset):
    """The C++ loop of mmcv, row by row: [box, score, index]."""
    rows = [
        [box, score, i] for i, (box, score) in enumerate(zip(boxes.tolist(), scores.tolist(), strict=True))
    ]
    i = 0
    while i < len(rows):
        best = max(range(i, len(rows)), key=lambda k: (rows[k][1], -k))
        rows[i], rows[best] = rows[best], rows[i]
        position = i + 1
        while position < len(rows):
            overlap = iou(rows[i][0], rows[position][0], offset)
            if method == 2:
                rows[position][1] *= np.exp(-(overlap**2) / sigma)
            elif overlap >= threshold:
                rows[position][1] *= 0 if method == 0 else 1 - overlap
            if rows[position][1] < least:
                rows[position] = rows[-1]
                rows.pop()
            else:
                position += 1
        i += 1
    return [row[2] for row in rows], [row[1] for row in rows]


@pytest.mark.parametrize("method", [0, 1, 2])
@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("ties", [False, True])
def test_softnms_is_mmcvs_loop(method, offset, ties):
    boxes, scores = random_boxes(60, seed=3)
    if ties:
        scores = (scores * 4).round() / 4
    dets = torch.empty(60, 5)
    kept = softnms(boxes, scores, dets, 0.3, 0.5, 0.05, method, offset)
    order, decayed = soft(boxes, scores, 0.3, 0.5, 0.05, method, offset)
    assert kept.tolist() == order
    np.testing.assert_allclose(dets[: len(order), 4], decayed, rtol=1e-5)
    assert torch.equal(dets[: len(order), :4], boxes[kept])


def test_softnms_leaves_its_inputs_alone():
    boxes, scores = random_boxes(20, seed=4)
    before = boxes.clone(), scores.clone()
    softnms(boxes, scores, torch.empty(20, 5), 0.3, 0.5, 0.001, 1, 0)
    assert torch.equal(boxes, before[0])
    assert torch.equal(scores, before[1])


def test_softnms_of_nothing_and_in_half_precision():
    assert softnms(torch.zeros(0, 4), torch.zeros(0), torch.empty(0, 5), 0.3, 0.5, 0.1, 1, 0).shape == (0,)
    boxes, scores = (tensor.half() for tensor in random_boxes(20, seed=5))
    dets, wide = torch.empty(20, 5).half(), torch.empty(20, 5)
    kept = softnms(boxes, scores, dets, 0.3, 0.5, 0.05, 2, 0)
    assert torch.equal(kept, softnms(boxes.float(), scores.float(), wide, 0.3, 0.5, 0.05, 2, 0))
    assert torch.equal(dets[: len(kept)], wide[: len(kept)].half())


def test_mmcvs_functions_run_on_them():
    ops.install()
    from mmcv.ops import batched_nms, nms, soft_nms

    boxes, scores = random_boxes(200, seed=6)
    classes = torch.arange(200) % 3
    dets, kept = batched_nms(boxes, scores, classes, {"type": "nms", "iou_threshold": 0.5})
    assert torch.equal(kept, torchvision.ops.batched_nms(boxes, scores, classes, 0.5))
    assert torch.equal(dets, torch.cat([boxes[kept], scores[kept, None]], 1))
    dets, kept = nms(boxes.numpy(), scores.numpy(), 0.5, offset=1, score_threshold=0.2, max_num=5)
    strong = (scores > 0.2).nonzero()[:, 0]
    assert kept.tolist() == strong[greedy(boxes[strong], scores[strong], 0.5, 1)][:5].tolist()
    dets, kept = soft_nms(boxes, scores, method="gaussian", min_score=0.1)
    assert dets.shape == (len(kept), 5)
    assert kept.tolist() == soft(boxes, scores, 0.3, 0.5, 0.1, 2, 0)[0]
