"""Which regions are mimicked. Random choices use torch's global random state."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kdbench.api import Targets, as_rois, largest_overlap


def proposal_regions(
    proposals: Sequence[Tensor], boxes: Sequence[Tensor], count: int, overlap: float
) -> Tensor:
    """Choose the student's best proposals, positives to negatives 1:1.

    Args:
        proposals: One (N, 5) tensor x1, y1, x2, y2, score an image.
        boxes: Ground truth, one (G, 4) tensor an image.
        count: Candidates an image, best scores first.
        overlap: IoU with a ground-truth box from which a proposal is positive.

    Returns:
        (R, 5) image, x1, y1, x2, y2.
    """
    best = [part[part[:, 4].topk(min(count, len(part))).indices, :4] for part in proposals]
    positive = [largest_overlap(part, truth) >= overlap for part, truth in zip(best, boxes, strict=True)]
    return as_rois(best)[balanced(torch.cat(positive))]


def box_regions(targets: Targets, overlap: float) -> Tensor:
    """Ground-truth boxes, and boxes of the same sizes at random places that overlap none of them as much.

    Args:
        targets: Ground truth of the batch.
        overlap: IoU from which a random box is dropped.

    Returns:
        (R, 5) image, x1, y1, x2, y2.
    """
    parts = [torch.cat([boxes, _elsewhere(boxes, targets.image_shape, overlap)]) for boxes in targets.boxes]
    return as_rois(parts)


def balanced(positive: Tensor) -> Tensor:
    """Return the indices of equally many positives and negatives, at random; all indices where one kind is missing.

    Args:
        positive: (N,) booleans.
    """
    kinds = (positive.nonzero().flatten(), (~positive).nonzero().flatten())
    count = min(len(kind) for kind in kinds)
    if count == 0:
        return torch.cat(kinds)
    return torch.cat([kind[torch.randperm(len(kind), device=kind.device)[:count]] for kind in kinds])


def _elsewhere(boxes: Tensor, image_shape: tuple[int, int], overlap: float) -> Tensor:
    """Boxes (G, 4) moved to random places inside the image, less those that overlap an original."""
    height, width = image_shape
    sides = boxes[:, 2:] - boxes[:, :2]
    room = (boxes.new_tensor([width, height]) - sides).clamp(min=0)
    corner = torch.rand_like(room) * room
    moved = torch.cat([corner, corner + sides], dim=1)
    return moved[largest_overlap(moved, boxes) < overlap]
