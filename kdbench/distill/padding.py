"""Cells of a padded batch's maps that cover an image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Size = tuple[int, int]


def valid_cells(maps: Sequence[Tensor], sizes: Sequence[Size], strides: Sequence[int]) -> list[Tensor]:
    """Return which cells of each map touch their image; the others only cover padding.

    Args:
        maps: (B, ..., H, W) each.
        sizes: Height and width of each of the B images, in input pixels; empty if no image is padded.
        strides: Stride of each map, in input pixels.

    Returns:
        (B, H, W) booleans each.
    """
    if not sizes:
        return [level.new_ones(_grid(level), dtype=torch.bool) for level in maps]
    limits = torch.tensor(sizes, device=maps[0].device)
    return [_inside(_grid(level), -(-limits // stride)) for level, stride in zip(maps, strides, strict=True)]


def masked(maps: Tensor, cells: Tensor | None) -> Tensor:
    """Set a map to 0 where it only covers padding.

    Args:
        maps: (B, C, H, W).
        cells: (B, H, W) booleans, the cells to keep; None: all.

    Returns:
        (B, C, H, W); masked cells have a gradient of exactly 0.
    """
    return maps if cells is None else maps.masked_fill(~cells[:, None], 0)


def _grid(level: Tensor) -> tuple[int, int, int]:
    """Return B, H and W."""
    return len(level), level.shape[-2], level.shape[-1]


def _inside(grid: tuple[int, int, int], ends: Tensor) -> Tensor:
    """Return (B, H, W) booleans that are true before the end row and column of each image, ``ends`` (B, 2)."""
    rows, columns = (torch.arange(cells, device=ends.device) for cells in grid[1:])
    return (rows < ends[:, :1])[:, :, None] & (columns < ends[:, 1:])[:, None, :]
