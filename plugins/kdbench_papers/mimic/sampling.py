"""Sampling of the regions to mimic. Random choices use a given generator, by default torch's own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from kdbench.api import Targets, as_rois, largest_overlap


def proposal_regions(
    proposals: Sequence[Tensor],
    boxes: Sequence[Tensor],
    count: int,
    overlap: float,
) -> Tensor:
    """Choose the best proposals of each image, at most half of them positive if there are enough negatives.

    Args:
        proposals: One (N, 5) tensor x1, y1, x2, y2, score per image.
        boxes: Ground truth, one (G, 4) tensor per image.
        count: Regions per image.
        overlap: Smallest IoU with a ground-truth box at which a proposal is positive.

    Returns:
        (R, 5) image, x1, y1, x2, y2: ``count`` regions per image, or all of its proposals if there are fewer.
    """
    return as_rois(
        [_sampled(part, truth, count, overlap) for part, truth in zip(proposals, boxes, strict=True)]
    )


def _sampled(proposals: Tensor, boxes: Tensor, count: int, overlap: float) -> Tensor:
    """Choose the best positives up to half of the count, and fill up with the best negatives: (n, 4).

    If there are too few negatives, further positives follow, so that the number of regions is known on the host.
    """
    ranked = proposals[proposals[:, 4].argsort(descending=True, stable=True), :4]
    positive = largest_overlap(ranked, boxes) >= overlap
    surplus = positive & (positive.cumsum(0) > count // 2)
    order = torch.where(surplus, 2, torch.where(positive, 0, 1)).argsort(stable=True)
    return ranked[order[:count]]


def box_regions(targets: Targets, overlap: float, generator: Generator | None = None) -> Tensor:
    """Return the ground-truth boxes, and boxes of the same sizes at random places away from them.

    Args:
        targets: Ground truth of the batch.
        overlap: Smallest IoU with a ground-truth box at which a random box is dropped.
        generator: Generator of the random places.

    Returns:
        (R, 5) image, x1, y1, x2, y2.
    """
    sizes = targets.sizes or (targets.image_shape,) * len(targets.boxes)
    images = zip(targets.boxes, sizes, strict=True)
    return as_rois(
        [torch.cat([boxes, _elsewhere(boxes, size, overlap, generator)]) for boxes, size in images]
    )


def _elsewhere(boxes: Tensor, size: tuple[int, int], overlap: float, generator: Generator | None) -> Tensor:
    """Move boxes (G, 4) to random places inside an image, and drop those that overlap an original box."""
    height, width = size
    sides = boxes[:, 2:] - boxes[:, :2]
    room = (boxes.new_tensor([width, height]) - sides).clamp(min=0)
    corner = torch.rand(room.shape, generator=generator, dtype=room.dtype, device=room.device) * room
    moved = torch.cat([corner, corner + sides], dim=1)
    return moved[largest_overlap(moved, boxes) < overlap]
