"""The local pair loss, the alternative to the pair-wise loss in the paper's Table 2, as a pure function."""

from __future__ import annotations

import torch
from torch import Tensor

from kdbench.api import mean_or_zero
from kdbench_papers.structured.losses import directions

NEIGHBOURS = ((0, 1), (1, -1), (1, 0), (1, 1))
"""Offsets in rows and columns to half of the eight neighbours; the other half gives the same pairs."""


def local_pair_loss(student: Tensor, teacher: Tensor, cells: Tensor | None = None) -> Tensor:
    """Return the mean over pairs of neighbouring cells of (a_ij^s - a_ij^t)^2, a_ij the cosine of their features.

    Reduction: mean over N and the pairs of a cell and one of its eight neighbours; 0 if there are none.

    Args:
        student: Features, (N, C, H, W).
        teacher: Features, (N, C', H, W) with any C'; receive no gradient.
        cells: (N, H, W) booleans that select cells; None: all.

    Returns:
        Scalar, in at least float32.

    Raises:
        ValueError: If the numbers of images or cells differ.

    Source: Liu et al., CVPR 2019, Table 2, row LOCAL.
    """
    if student.shape[::2] != teacher.shape[::2] or student.shape[-1] != teacher.shape[-1]:
        raise ValueError(
            f"student {tuple(student.shape)} and teacher {tuple(teacher.shape)} differ in images or size"
        )
    ours, theirs = (_cosines(part) for part in (student, teacher.detach()))
    return mean_or_zero((ours - theirs).square(), None if cells is None else _pairs(cells))


def _cosines(features: Tensor) -> Tensor:
    """Return the cosines of neighbouring features, (N, pairs), of maps (N, C, H, W)."""
    unit = directions(features, None, None).view(features.shape)
    return torch.cat([(one * other).sum(dim=1).flatten(1) for one, other in _shifted(unit)], dim=1)


def _pairs(cells: Tensor) -> Tensor:
    """Return the pairs whose cells are both selected, (N, pairs), from cells (N, H, W)."""
    return torch.cat([(one & other).flatten(1) for one, other in _shifted(cells)], dim=1)


def _shifted(maps: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return maps (..., H, W) and their neighbours for each offset, cropped to where both are inside the map."""
    height, width = maps.shape[-2:]
    found = []
    for down, right in NEIGHBOURS:
        left, end = max(0, -right), width - max(0, right)
        one = maps[..., : height - down, left:end]
        found.append((one, maps[..., down:, left + right : end + right]))
    return found
