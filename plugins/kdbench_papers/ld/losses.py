"""Losses of localization distillation, as pure functions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kdbench.api import at_least_float32
from kdbench_papers.hinton.losses import softmax_divergence


def bins_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return T^2 KL(teacher || student) of one side's distribution over the bins.

    Reduction: sum over the bins. The released code has the mean, so its weights are divided by n + 1 here.

    Args:
        student: (..., n + 1) logits of the bins.
        teacher: The same shape; receives no gradient.
        temperature: T > 0.

    Returns:
        (...), in at least float32.

    Raises:
        ValueError: If the shapes differ or T is not positive.

    Source: Zheng et al., arXiv 2102.12252, equation 3.
    """
    return temperature**2 * softmax_divergence(student, teacher, temperature, dim=-1)


def localization_loss(student: Tensor, teacher: Tensor, weights: Tensor, temperature: float) -> Tensor:
    """Return the sum over positions of weight x the mean over the 4 sides of the divergence of the bins.

    Reduction: sum over positions, not divided by their number; 0 if there are none.

    Args:
        student: (N, 4, n + 1) or (N, 4 (n + 1)) logits of the bins.
        teacher: The same shape; receives no gradient.
        weights: (N,) weight of each position; receives no gradient.
        temperature: T > 0.

    Returns:
        Scalar, in at least float32.

    Raises:
        ValueError: If the shapes differ or T is not positive.

    Source: Zheng et al., arXiv 2102.12252, equation 4, with the weights of the released code.
    """
    bins = student.numel() // max(4 * len(weights), 1)
    ours, theirs = (side.reshape(len(weights), 4, bins) for side in (student, teacher))
    sides = bins_divergence(ours, theirs, temperature)
    return (weights.detach() * sides.sum(dim=1) / 4).sum()


def valuable_region(
    anchors: Tensor, gt_boxes: Tensor, counts: Sequence[int], topk: int = 9, low: float = 0.25
) -> Tensor:
    """Return the weights of the valuable localisation region of one image.

    As in ATSS, the candidates of a box are its ``topk`` nearest anchors (by centre) on each level, and its
    threshold t is the mean of their IoU plus the standard deviation (with n - 1; 0 for a single candidate). An
    anchor is in the region if low x t <= DIoU < t for some box. Its weight is its largest IoU with these boxes.

    Args:
        anchors: (M, 4) x1, y1, x2, y2 of all levels, one level after the other.
        gt_boxes: (G, 4).
        counts: Number of anchors of each level; they add up to M.
        topk: Candidates per level and box.
        low: Fraction of the threshold at which the region begins.

    Returns:
        (M,) in [0, 1], 0 outside of the region, in at least float32.

    Source: Zheng et al., arXiv 2102.12252, algorithm 1, as in the released code.
    """
    from torchvision.ops import box_iou

    anchors, gt_boxes = at_least_float32(anchors), at_least_float32(gt_boxes).to(anchors.device)
    if not len(anchors) or not len(gt_boxes):
        return anchors.new_zeros(len(anchors))
    overlaps: Tensor = box_iou(anchors, gt_boxes).nan_to_num(0.0)
    squared = (_centres(anchors)[:, None] - _centres(gt_boxes)[None]).square().sum(dim=2)
    candidates = overlaps.gather(0, _nearest(squared, counts, topk))
    thresholds = candidates.mean(dim=0) + candidates.std(dim=0, correction=int(len(candidates) > 1))
    distance = overlaps - (squared / _squared_diagonals(anchors, gt_boxes)).nan_to_num(0.0)
    inside = (distance >= low * thresholds) & (distance < thresholds)
    return torch.where(inside, overlaps, 0.0).amax(dim=1)


def _centres(boxes: Tensor) -> Tensor:
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def _nearest(squared: Tensor, counts: Sequence[int], topk: int) -> Tensor:
    """Return the rows of the ``topk`` smallest values of each level, (k, G), of (M, G); ties go to the first."""
    found, start = [], 0
    for level in torch.split(squared, list(counts)):
        found.append(start + level.argsort(dim=0, stable=True)[:topk])
        start += len(level)
    return torch.cat(found)


def _squared_diagonals(ours: Tensor, theirs: Tensor) -> Tensor:
    """Return the squared diagonal of the smallest box that encloses each pair, (N, M)."""
    low = torch.minimum(ours[:, None, :2], theirs[None, :, :2])
    high = torch.maximum(ours[:, None, 2:], theirs[None, :, 2:])
    return (high - low).square().sum(dim=2)
