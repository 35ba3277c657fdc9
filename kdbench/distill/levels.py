"""Assignment of boxes to the levels of a pyramid. Boxes are x1, y1, x2, y2 in input pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kdbench.distill.regions import overlaps

LARGEST_TABLE = 1 << 24
"""Maximum number of overlaps between boxes and anchors that are in memory at once: 64 MiB of float32."""


@dataclass(frozen=True)
class LevelsByScale:
    """Assignment by the scale of a box, like mmdet's SingleRoIExtractor.

    Attributes:
        levels: Number of levels from which regions are pooled, finest first.
        finest: Boxes below twice this scale, in pixels, are on the finest level.
    """

    levels: int
    finest: float

    def __call__(self, boxes: Tensor) -> Tensor:
        """Return the level of each box: (N, 4) -> (N,) integers."""
        return assign_levels(boxes, self.levels, self.finest)


@dataclass(frozen=True)
class LevelsByAnchors:
    """Assignment to the level whose anchors reach the largest IoU with a box; the finest in case of a tie.

    Attributes:
        anchors: (N_i, 4) per level, finest first.
    """

    anchors: tuple[Tensor, ...]

    def __call__(self, boxes: Tensor) -> Tensor:
        """Return the level of each box: (N, 4) -> (N,) integers."""
        return level_overlaps(boxes, self.anchors).argmax(dim=1)


def assign_levels(boxes: Tensor, levels: int, finest: float) -> Tensor:
    """Return the level of each box in a pyramid of octaves, like mmdet's SingleRoIExtractor.

    The level is floor(log2(sqrt(area) / finest + 1e-6)), clamped to [0, levels).

    Args:
        boxes: (N, 4).
        levels: Number of levels, finest first.
        finest: Boxes below twice this scale, in pixels, are on the finest level (mmdet: 56 at stride 4).

    Returns:
        (N,) integers in [0, levels).
    """
    sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0)
    scale = sides.prod(dim=1).sqrt()
    return torch.floor(torch.log2(scale / finest + 1e-6)).clamp(0, levels - 1).long()


def level_overlaps(boxes: Tensor, anchors: Sequence[Tensor]) -> Tensor:
    """Return the largest IoU of each box with the anchors of each level.

    Args:
        boxes: (N, 4).
        anchors: (N_i, 4) per level, with at least one anchor each.

    Returns:
        (N, levels), 0 for boxes without area.
    """
    parts = torch.split(boxes, max(1, LARGEST_TABLE // sum(len(level) for level in anchors)))
    return torch.cat(
        [torch.stack([overlaps(part, level).amax(dim=1) for level in anchors], dim=1) for part in parts]
    )
