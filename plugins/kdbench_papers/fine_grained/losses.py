"""Imitation regions and their loss, as pure functions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from kdbench.api import as_rois, coverage, level_overlaps, overlaps, reduced, student_and_teacher

LARGEST_TABLE = 1 << 24
"""Maximum number of overlaps between boxes and anchors that are in memory at once: 64 MiB of float32."""


def imitation_mask(
    anchors: Tensor, gt_boxes: Tensor, num_anchors: int, grid: tuple[int, int], threshold: float = 0.5
) -> Tensor:
    """Return the locations with an anchor whose IoU with a box exceeds threshold * M, M the box's largest IoU.

    All anchors count, including those that cross the image border. Boxes without area are ignored. The comparison
    is strict, as in the released code: 1 selects nothing, and 0 selects the locations with an anchor that overlaps
    a box (the paper says that 0 selects all locations).

    Args:
        anchors: (H * W * A, 4) x1, y1, x2, y2, in row-major (y, x, a) order.
        gt_boxes: (G, 4) boxes of one image, in the same pixels; G may be 0.
        num_anchors: A.
        grid: H and W.
        threshold: psi, in [0, 1].

    Returns:
        (H, W) booleans.

    Raises:
        ValueError: If there are not H * W * A anchors.

    Source: Wang et al., CVPR 2019, section 3.2.
    """
    _check(anchors, num_anchors, grid)
    table = overlaps(gt_boxes, anchors)
    near = table > threshold * table.amax(dim=1, keepdim=True)
    return near.view(len(gt_boxes), *grid, num_anchors).any(dim=3).any(dim=0)


def imitation_loss(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Return 1 / (2 N_p) sum_ij I_ij sum_c (s_ijc - t_ijc)^2, where N_p is the number of cells in I.

    N_p is averaged over all processes.

    Args:
        student: Adapted map, (B, C, H, W).
        teacher: Map of the same shape; receives no gradient.
        mask: I, (B, H, W) booleans.

    Returns:
        Scalar, in at least float32; 0 if the mask is empty. Its gradient is exactly 0 outside the mask.

    Raises:
        ValueError: If the shapes differ.

    Source: Wang et al., CVPR 2019, section 3.3.
    """
    student, teacher = student_and_teacher(student, teacher)
    if mask.shape != student.shape[:1] + student.shape[2:]:
        raise ValueError(f"mask {tuple(mask.shape)} does not fit maps {tuple(student.shape)}")
    return imitation_sum(student, teacher, mask) / reduced(mask.sum())


def imitation_sum(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Return 1/2 sum_ij I_ij sum_c (s_ijc - t_ijc)^2: :func:`imitation_loss` before the division by N_p."""
    student, teacher = student_and_teacher(student, teacher)
    return 0.5 * (student - teacher).masked_fill(~mask[:, None], 0).square().sum()


def pyramid_masks(
    anchors: Sequence[Tensor],
    boxes: Sequence[Tensor],
    grids: Sequence[tuple[int, int]],
    threshold: float = 0.5,
) -> list[Tensor]:
    """Return :func:`imitation_mask` of a batch on a pyramid, with each box only on its own level.

    A box's level is the one whose anchors reach the largest IoU with it; the finest in case of a tie.

    Args:
        anchors: (H_i * W_i * A_i, 4) per level, finest first.
        boxes: One (G, 4) tensor per image.
        grids: H_i and W_i of each level.
        threshold: psi, in [0, 1].

    Returns:
        (B, H_i, W_i) booleans per level.
    """
    counts = [len(level) // (height * width) for level, (height, width) in zip(anchors, grids, strict=True)]
    masks = [torch.zeros(len(boxes), *grid, dtype=torch.bool, device=anchors[0].device) for grid in grids]
    for rois in _parts(as_rois(boxes), anchors):
        tables = [overlaps(rois[:, 1:], level) for level in anchors]
        largest = torch.stack([table.amax(dim=1) for table in tables], dim=1)
        own = largest.argmax(dim=1)
        image = functional.one_hot(rois[:, 0].long(), len(boxes)).float()
        for index, (table, count, grid) in enumerate(zip(tables, counts, grids, strict=True)):
            near = (table > threshold * largest[:, index, None]) & (own == index)[:, None]
            cells = near.view(len(rois), grid[0] * grid[1], count).any(dim=2)
            with torch.autocast(cells.device.type, enabled=False):
                masks[index] |= (image.T @ cells.float()).view(-1, *grid) > 0
    return masks


def box_masks(
    anchors: Sequence[Tensor],
    boxes: Sequence[Tensor],
    grids: Sequence[tuple[int, int]],
    strides: Sequence[int],
) -> list[Tensor]:
    """Return the cells that a box touches, with each box only on its level as in :func:`pyramid_masks`.

    Boxes without area are ignored.

    Args:
        anchors: (H_i * W_i * A_i, 4) per level, finest first.
        boxes: One (G, 4) tensor per image.
        grids: H_i and W_i of each level.
        strides: Stride of each level, in input pixels.

    Returns:
        (B, H_i, W_i) booleans per level.
    """
    rois = as_rois(boxes)
    largest = level_overlaps(rois[:, 1:], anchors)
    best, own = largest.max(dim=1).values, largest.argmax(dim=1)
    return [
        coverage(rois, len(boxes), grid, stride, ((own == index) & (best > 0)).float()) > 0
        for index, (grid, stride) in enumerate(zip(grids, strides, strict=True))
    ]


def scaled(boxes: Tensor, scale: float) -> Tensor:
    """Scale the sides of boxes (G, 4) around their centres."""
    if scale == 1.0:
        return boxes
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) * scale / 2
    return torch.cat([centre - half, centre + half], dim=1)


def _check(anchors: Tensor, num_anchors: int, grid: tuple[int, int]) -> None:
    if len(anchors) != num_anchors * grid[0] * grid[1]:
        raise ValueError(f"{len(anchors)} anchors are not {num_anchors} on each cell of a {grid} grid")


def _parts(rois: Tensor, anchors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Split the rows into at least one part, whose overlaps with all anchors fit into :data:`LARGEST_TABLE`."""
    return torch.split(rois, max(1, LARGEST_TABLE // sum(len(level) for level in anchors)))
