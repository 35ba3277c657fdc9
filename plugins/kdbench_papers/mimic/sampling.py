"""Which regions are mimicked. Random choices are drawn from a generator, by default torch's own."""

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
    """Choose the best proposals of each image, at most half of them positive where there are enough others.

    Args:
        proposals: One (N, 5) tensor x1, y1, x2, y2, score an image.
        boxes: Ground truth, one (G, 4) tensor an image.
        count: Regions of an image.
        overlap: IoU with a ground-truth box from which a proposal is positive.

    Returns:
        (R, 5) image, x1, y1, x2, y2: of an image ``count``, or all of its proposals if they are fewer.
    """
    return as_rois(
        [_sampled(part, truth, count, overlap) for part, truth in zip(proposals, boxes, strict=True)]
    )


def _sampled(proposals: Tensor, boxes: Tensor, count: int, overlap: float) -> Tensor:
    """Choose the best positives up to half of the count, the best negatives up to the count: (n, 4).

    Further positives follow where the negatives run out, so that the host knows the number of regions.
    """
    ranked = proposals[proposals[:, 4].argsort(descending=True, stable=True), :4]
    positive = largest_overlap(ranked, boxes) >= overlap
    surplus = positive & (positive.cumsum(0) > count // 2)
    order = torch.where(surplus, 2, torch.where(positive, 0, 1)).argsort(stable=True)
    return ranked[order[:count]]


def box_regions(targets: Targets, overlap: float, generator: Generator | None = None) -> Tensor:
    """Return the ground-truth boxes, and boxes of their sizes at random places that overlap none of them as much.

    Args:
        targets: Ground truth of the batch.
        overlap: IoU from which a random box is dropped.
        generator: Draws the places.

    Returns:
        (R, 5) image, x1, y1, x2, y2.
    """
    sizes = targets.sizes or (targets.image_shape,) * len(targets.boxes)
    images = zip(targets.boxes, sizes, strict=True)
    return as_rois(
        [torch.cat([boxes, _elsewhere(boxes, size, overlap, generator)]) for boxes, size in images]
    )


def _elsewhere(boxes: Tensor, size: tuple[int, int], overlap: float, generator: Generator | None) -> Tensor:
    """Boxes (G, 4) moved to random places inside an image, less those that overlap an original."""
    height, width = size
    sides = boxes[:, 2:] - boxes[:, :2]
    room = (boxes.new_tensor([width, height]) - sides).clamp(min=0)
    corner = torch.rand(room.shape, generator=generator, dtype=room.dtype, device=room.device) * room
    moved = torch.cat([corner, corner + sides], dim=1)
    return moved[largest_overlap(moved, boxes) < overlap]
