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
    generator: Generator | None = None,
) -> Tensor:
    """Choose the student's best proposals, positives to negatives 1:1.

    Args:
        proposals: One (N, 5) tensor x1, y1, x2, y2, score an image.
        boxes: Ground truth, one (G, 4) tensor an image.
        count: Candidates an image, best scores first.
        overlap: IoU with a ground-truth box from which a proposal is positive.
        generator: Draws those that stay of the more frequent kind.

    Returns:
        (R, 5) image, x1, y1, x2, y2.
    """
    best = [part[part[:, 4].topk(min(count, len(part))).indices, :4] for part in proposals]
    positive = [largest_overlap(part, truth) >= overlap for part, truth in zip(best, boxes, strict=True)]
    return as_rois(best)[balanced(torch.cat(positive), generator)]


def box_regions(targets: Targets, overlap: float, generator: Generator | None = None) -> Tensor:
    """Ground-truth boxes, and boxes of the same sizes at random places that overlap none of them as much.

    Args:
        targets: Ground truth of the batch.
        overlap: IoU from which a random box is dropped.
        generator: Draws the places.

    Returns:
        (R, 5) image, x1, y1, x2, y2.
    """
    size = targets.image_shape
    return as_rois(
        [torch.cat([boxes, _elsewhere(boxes, size, overlap, generator)]) for boxes in targets.boxes]
    )


def balanced(positive: Tensor, generator: Generator | None = None) -> Tensor:
    """Return indices of as many positives as negatives, at random; all where one kind is missing.

    Args:
        positive: (N,) booleans.
        generator: Draws them.
    """
    kinds = (positive.nonzero().flatten(), (~positive).nonzero().flatten())
    count = min(len(kind) for kind in kinds)
    if count == 0:
        return torch.cat(kinds)
    drawn = [torch.randperm(len(kind), generator=generator, device=kind.device)[:count] for kind in kinds]
    return torch.cat([kind[chosen] for kind, chosen in zip(kinds, drawn, strict=True)])


def _elsewhere(
    boxes: Tensor, image_shape: tuple[int, int], overlap: float, generator: Generator | None
) -> Tensor:
    """Boxes (G, 4) moved to random places inside the image, less those that overlap an original."""
    height, width = image_shape
    sides = boxes[:, 2:] - boxes[:, :2]
    room = (boxes.new_tensor([width, height]) - sides).clamp(min=0)
    corner = torch.rand(room.shape, generator=generator, dtype=room.dtype, device=room.device) * room
    moved = torch.cat([corner, corner + sides], dim=1)
    return moved[largest_overlap(moved, boxes) < overlap]
