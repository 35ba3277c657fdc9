"""Imitation regions and their loss: pure functions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from kdbench.api import as_rois, coverage, level_overlaps, overlaps, reduced, student_and_teacher

LARGEST_TABLE = 1 << 24
"""Overlaps of boxes and anchors that are held at once: 64 MiB of float32."""


def imitation_mask(
    anchors: Tensor, gt_boxes: Tensor, num_anchors: int, grid: tuple[int, int], threshold: float = 0.5
) -> Tensor:
    """Locations one of whose anchors has IoU > threshold * M with a box, M the box's largest IoU.

    All anchors count, those that cross the border too. Boxes without area add nothing. The comparison is
    strict, as in the released code: 1 keeps nothing, and 0 the locations one of whose anchors overlaps a box
    (the paper says of 0 that it keeps all).

    Args:
        anchors: (H * W * A, 4) x1, y1, x2, y2, in row-major (y, x, a) order.
        gt_boxes: (G, 4) of one image, in the same pixels; G may be 0.
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
    """1 / (2 N_p) sum_ij I_ij sum_c (s_ijc - t_ijc)^2; N_p, the number of cells in I, is of all processes.

    Args:
        student: Adapted map, (B, C, H, W).
        teacher: Map of the same shape; receives no gradient.
        mask: I, (B, H, W) booleans.

    Returns:
        Scalar, in at least float32; 0 where the mask is empty. Its gradient is exactly 0 outside the mask.

    Raises:
        ValueError: If the shapes differ.

    Source: Wang et al., CVPR 2019, section 3.3.
    """
    student, teacher = student_and_teacher(student, teacher)
    if mask.shape != student.shape[:1] + student.shape[2:]:
        raise ValueError(f"mask {tuple(mask.shape)} does not fit maps {tuple(student.shape)}")
    return imitation_sum(student, teacher, mask) / reduced(mask.sum())


def imitation_sum(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """1/2 sum_ij I_ij sum_c (s_ijc - t_ijc)^2: :func:`imitation_loss` before it is divided by N_p."""
    student, teacher = student_and_teacher(student, teacher)
    return 0.5 * (student - teacher).masked_fill(~mask[:, None], 0).square().sum()


def pyramid_masks(
    anchors: Sequence[Tensor],
    boxes: Sequence[Tensor],
    grids: Sequence[tuple[int, int]],
    threshold: float = 0.5,
) -> list[Tensor]:
    """:func:`imitation_mask` of a batch on a pyramid: each box on its own level alone.

    A box's level is that whose anchors reach the largest IoU with it, the finest of equals.

    Args:
        anchors: (H_i * W_i * A_i, 4) a level, finest first.
        boxes: One (G, 4) tensor an image.
        grids: H_i and W_i of each level.
        threshold: psi, in [0, 1].

    Returns:
        (B, H_i, W_i) booleans a level.
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
    """Cells that a box touches, each box on the level of :func:`pyramid_masks`; without area it adds nothing.

    Args:
        anchors: (H_i * W_i * A_i, 4) a level, finest first.
        boxes: One (G, 4) tensor an image.
        grids: H_i and W_i of each level.
        strides: Stride of each level, in input pixels.

    Returns:
        (B, H_i, W_i) booleans a level.
    """
    rois = as_rois(boxes)
    largest = level_overlaps(rois[:, 1:], anchors)
    best, own = largest.max(dim=1).values, largest.argmax(dim=1)
    return [
        coverage(rois, len(boxes), grid, stride, ((own == index) & (best > 0)).float()) > 0
        for index, (grid, stride) in enumerate(zip(grids, strides, strict=True))
    ]


def scaled(boxes: Tensor, scale: float) -> Tensor:
    """Return boxes (G, 4) whose sides are ``scale`` times as long, around the same centres."""
    if scale == 1.0:
        return boxes
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) * scale / 2
    return torch.cat([centre - half, centre + half], dim=1)


def _check(anchors: Tensor, num_anchors: int, grid: tuple[int, int]) -> None:
    if len(anchors) != num_anchors * grid[0] * grid[1]:
        raise ValueError(f"{len(anchors)} anchors are not {num_anchors} on each cell of a {grid} grid")


def _parts(rois: Tensor, anchors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Yield the rows in parts whose overlaps with all anchors fit into :data:`LARGEST_TABLE`; at least one part."""
    return torch.split(rois, max(1, LARGEST_TABLE // sum(len(level) for level in anchors)))
