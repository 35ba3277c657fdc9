"""Overlap of boxes, and non-maximum suppression, hard and soft.

Sources: mmcv/ops/csrc/common/cuda/bbox_overlaps_cuda_kernel.cuh and mmcv/ops/csrc/pytorch/cpu/nms.cpp.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from torch import Tensor

from kdbench.openmmlab.ops.common import widened

Floats = NDArray[np.floating[Any]]

NAIVE, LINEAR, GAUSSIAN = 0, 1, 2


def bbox_overlaps(
    bboxes1: Tensor, bboxes2: Tensor, ious: Tensor, mode: int, aligned: bool, offset: int
) -> None:
    """Write overlaps into ``ious``: ``(N,)`` row by row when aligned, else ``(N, M)``.

    Args:
        bboxes1: ``(N, 4)`` corners.
        bboxes2: ``(M, 4)`` corners.
        ious: Output.
        mode: 0 intersection over union, 1 over the area of ``bboxes1``.
        aligned: Compare row by row.
        offset: 0, or 1 where a box includes its last pixel; also the smallest divisor.
    """
    first, second = widened(bboxes1), widened(bboxes2)
    if not aligned:
        first, second = first[:, None], second[None]
    size = (first[..., 2:].minimum(second[..., 2:]) - first[..., :2].maximum(second[..., :2]) + offset).clamp(
        min=0
    )
    shared = size.prod(dim=-1)
    base = (first[..., 2:] - first[..., :2] + offset).prod(dim=-1)
    if mode == 0:
        base = base + (second[..., 2:] - second[..., :2] + offset).prod(dim=-1) - shared
    ious.copy_(shared / base.clamp(min=offset))


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Return the indices of the boxes that stay, by falling score.

    A box is dropped when its IoU with a kept one is above the threshold, both taken as float32 as mmcv does.

    Args:
        boxes: ``(N, 4)`` corners x1, y1, x2, y2.
        scores: ``(N,)``.
        iou_threshold: In [0, 1].
        offset: 0, or 1 where a box includes its last pixel (width is x2 - x1 + 1).
    """
    wide = widened(boxes)
    if offset:
        wide = wide + wide.new_tensor([0, 0, offset, offset])
    threshold = float(np.float32(iou_threshold))
    kept: Tensor = torchvision.ops.nms(wide, scores.to(wide.dtype), threshold)
    return kept


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Soft-NMS on the CPU, box by box in mmcv's order (ties included).

    Args:
        boxes: ``(N, 4)`` corners.
        scores: ``(N,)``.
        dets: ``(N, 5)`` output: its first rows become the kept boxes with their decayed scores.
        iou_threshold: From this IoU on, the naive and linear methods decay.
        sigma: Width of the gaussian method.
        min_score: Boxes that decay below it are dropped.
        method: 0 naive (drop), 1 linear, 2 gaussian.
        offset: 0 or 1, as in :func:`nms`.

    Returns:
        Indices of the kept boxes, in the order of ``dets``.
    """
    corners: Floats = widened(boxes.detach()).numpy()
    left: Floats = widened(scores.detach()).numpy().copy()
    order = np.arange(len(corners))
    count, position = len(order), 0
    while position < count:
        best = position + int(np.argmax(left[order[position:count]]))
        order[[position, best]] = order[[best, position]]
        rest = order[position + 1 : count]
        overlap = _iou(corners[order[position]], corners[rest], offset)
        left[rest] *= _decay(overlap, iou_threshold, sigma, method)
        count = _compact(order, left[order] < min_score, position + 1, count)
        position += 1
    kept = order[:count]
    dets[:count, :4] = boxes[kept]
    dets[:count, 4] = torch.from_numpy(left[kept])
    return torch.from_numpy(kept.copy())


def _iou(box: Floats, others: Floats, offset: int) -> Floats:
    size = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2]) + offset
    shared = np.maximum(size, 0).prod(axis=1)
    area = (box[2:] - box[:2] + offset).prod()
    with np.errstate(divide="ignore", invalid="ignore"):
        overlap: Floats = shared / (area + (others[:, 2:] - others[:, :2] + offset).prod(axis=1) - shared)
    return overlap


def _decay(overlap: Floats, iou_threshold: float, sigma: float, method: int) -> Floats:
    """Return the factors on the scores of overlapped boxes."""
    if method == GAUSSIAN:
        return np.exp(-(overlap**2) / overlap.dtype.type(sigma))
    hit = overlap >= overlap.dtype.type(iou_threshold)
    return np.where(hit, 1 - overlap if method == LINEAR else 0, 1).astype(overlap.dtype)


def _compact(order: NDArray[np.intp], low: NDArray[np.bool_], start: int, count: int) -> int:
    """Drop low boxes the way mmcv does, by moving the last one into the gap: it decides ties later."""
    if not low[start:count].any():
        return count
    position = start
    while position < count:
        if low[position]:
            count -= 1
            order[position], low[position] = order[count], low[count]
        else:
            position += 1
    return count
