"""mmdet's assigners on a whole batch: which ground-truth box each anchor or proposal is trained on.

Assigned indices are mmdet's: 1 and more for the ground-truth boxes in their order, 0 for the background, -1 for
anchors that are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmdet.models.task_modules.assigners import ATSSAssigner, BboxOverlaps2D, MaxIoUAssigner
from mmdet.structures.bbox import bbox_overlaps
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

NOWHERE = -2.0
"""Overlap with padding: below any overlap, and below the -1 of what mmdet ignores."""
FAR = -100000000.0
"""Overlap that mmdet's ATSS sets where an anchor is no candidate for a box."""
LEAST_INSIDE = 0.01
"""Least distance of an anchor's center from the sides of its box, in pixels."""


@dataclass(frozen=True)
class Truth:
    """The ground-truth boxes of a batch, padded to the same number.

    Attributes:
        boxes: (B, G, 4) corners; zeros in the padding.
        labels: (B, G); -1 in the padding.
        counts: Number of boxes of each image.
    """

    boxes: Tensor
    labels: Tensor
    counts: list[int]

    @property
    def real(self) -> Tensor:
        """Which are no padding, (B, G)."""
        return self.labels >= 0

    def part(self, start: int, stop: int) -> Truth:
        """Return the boxes of the images from ``start`` to ``stop``."""
        return Truth(self.boxes[start:stop], self.labels[start:stop], self.counts[start:stop])


def truth_of(instances: Sequence[Any]) -> Truth:
    """Return the boxes of mmdet's ``gt_instances``, with at least one column."""
    boxes, labels = [each.bboxes for each in instances], [each.labels for each in instances]
    counts = [len(each) for each in boxes]
    if not max(counts):
        empty = boxes[0].new_zeros(len(boxes), 1, 4), labels[0].new_full((len(boxes), 1), -1)
        return Truth(*empty, counts)
    padded = pad_sequence(labels, batch_first=True, padding_value=-1)
    return Truth(pad_sequence(boxes, batch_first=True), padded, counts)


def covers_assigner(assigner: Any) -> bool:
    """Whether an assigner's options are covered here."""
    calculator: Any = getattr(assigner, "iou_calculator", None)
    if type(calculator) is not BboxOverlaps2D or calculator.dtype is not None or assigner.ignore_iof_thr > 0:
        return False
    if type(assigner) is ATSSAssigner:
        return assigner.alpha is None
    return (
        type(assigner) is MaxIoUAssigner
        and assigner.gpu_assign_thr <= 0
        and assigner.perm_repeat_gt_cfg is None
        and isinstance(assigner.neg_iou_thr, float | tuple)
    )


def max_iou(assigner: Any, boxes: Tensor, truth: Truth, inside: Tensor | None = None) -> Tensor:
    """Assign as mmdet's ``MaxIoUAssigner`` does.

    Args:
        assigner: Its options.
        boxes: (B, N, 4) anchors or proposals.
        truth: Ground-truth boxes.
        inside: (B, N) which of them count; None if all do.

    Returns:
        (B, N) assigned indices.
    """
    real = truth.real
    overlaps = bbox_overlaps(truth.boxes, boxes).masked_fill(~real[..., None], NOWHERE)
    if inside is not None:
        overlaps = overlaps.masked_fill(~inside[:, None], NOWHERE)
    best, which = overlaps.max(1)
    low = assigner.neg_iou_thr
    low, high = low if isinstance(low, tuple) else (0, low)
    assigned = torch.where((best >= low) & (best < high), 0, -1)
    assigned = torch.where(best >= assigner.pos_iou_thr, which + 1, assigned)
    if assigner.match_low_quality:
        last = _low_quality(assigner, overlaps, real)
        assigned = torch.where(last > 0, last, assigned)
    if not min(truth.counts):
        assigned = torch.where(real.any(1, keepdim=True), assigned, 0)
    return assigned if inside is None else torch.where(inside, assigned, -1)


def _low_quality(assigner: Any, overlaps: Tensor, real: Tensor) -> Tensor:
    """Return the last box, from 1, that has its best overlap at each anchor, (B, N); 0 where there is none.

    mmdet goes through the boxes one by one, and a later one overwrites an earlier one.
    """
    best, where = overlaps.max(2)
    if assigner.gt_max_assign_all:
        own = overlaps == best[..., None]
    else:
        own = torch.arange(overlaps.shape[2], device=overlaps.device) == where[..., None]
    own &= (real & (best >= assigner.min_pos_iou))[..., None]
    numbers = torch.arange(1, overlaps.shape[1] + 1, device=overlaps.device, dtype=torch.int32)
    return torch.where(own, numbers[:, None], 0).amax(1).long()


def atss(assigner: Any, anchors: Tensor, levels: Sequence[int], truth: Truth) -> Tensor:
    """Assign as mmdet's ``ATSSAssigner`` does.

    Args:
        assigner: Its options.
        anchors: (N, 4) of all levels.
        levels: Number of anchors of each level.
        truth: Ground-truth boxes.

    Returns:
        (B, N) assigned indices.
    """
    boxes = truth.boxes
    overlaps = bbox_overlaps(anchors.expand(len(boxes), -1, -1), boxes)
    centers = (anchors[:, :2] + anchors[:, 2:]) / 2.0
    candidates = _closest(assigner.topk, centers, levels, boxes)
    found = overlaps.gather(1, candidates)
    positive = (found >= _thresholds(found, truth.counts)[:, None]) & truth.real[:, None]
    positive &= _within(centers[candidates], boxes[:, None])
    chosen = torch.zeros_like(overlaps, dtype=torch.bool).scatter_(1, candidates, positive)
    best, which = overlaps.masked_fill(~chosen, FAR).max(2)
    return torch.where(best != FAR, which + 1, 0)


def _closest(count: int, centers: Tensor, levels: Sequence[int], boxes: Tensor) -> Tensor:
    """Return the anchors of each level whose centers are closest to each box, (B, K, G)."""
    middles = (boxes[..., :2] + boxes[..., 2:]) / 2.0
    distances = (centers[:, None] - middles[:, None]).pow(2).sum(-1).sqrt()
    found, start = [], 0
    for size in levels:
        level = distances[:, start : start + size]
        found.append(level.topk(min(count, size), dim=1, largest=False)[1] + start)
        start += size
    return torch.cat(found, dim=1)


def _thresholds(found: Tensor, counts: Sequence[int]) -> Tensor:
    """Return the sum of mean and standard deviation, (B, G), of the candidates' overlaps (B, K, G).

    Each image is computed by itself: the bits of a sum depend on the shape of its tensor.
    """
    own = [part[:, :count].contiguous() for part, count in zip(found, counts, strict=True)]
    limits = pad_sequence([part.mean(0) + part.std(0) for part in own], batch_first=True)
    return torch.nn.functional.pad(limits, (0, found.shape[2] - limits.shape[1]))


def _within(centers: Tensor, boxes: Tensor) -> Tensor:
    """Return whether points (..., 2) are inside boxes (..., 4)."""
    sides = torch.minimum(centers - boxes[..., :2], boxes[..., 2:] - centers)
    return sides.amin(-1) > LEAST_INSIDE
