"""Regions of feature maps: strides, overlaps, pooling.

Boxes are x1, y1, x2, y2 in input pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from kdbench.distill.losses import at_least_float32


def stride_of(features: Tensor, image_shape: tuple[int, int]) -> int:
    """Return the stride of a map in input pixels: the power of two that best explains its size.

    A network with padding halves n to ceil(n / 2), so the stride is exact for any image size. If several strides
    fit (maps of one cell), the smallest is returned.

    Args:
        features: (B, C, H, W).
        image_shape: Height and width of the padded batch.
    """
    sizes = list(zip(image_shape, features.shape[-2:], strict=True))
    candidates = [1 << power for power in range(12)]
    return min(candidates, key=lambda s: sum(abs(-(-image // s) - cells) for image, cells in sizes))


def overlaps(boxes: Tensor, others: Tensor) -> Tensor:
    """Return the IoU of each box (N, 4) with each of the others (M, 4): (N, M), 0 for boxes without area."""
    from torchvision.ops import box_iou

    table: Tensor = box_iou(at_least_float32(boxes), at_least_float32(others))
    return table.nan_to_num(0.0)


def largest_overlap(boxes: Tensor, others: Tensor) -> Tensor:
    """Return the largest IoU of each box (N, 4) with any of the others (G, 4): (N,), 0 if there are no others."""
    return functional.pad(overlaps(boxes, others), (0, 1)).amax(dim=1)


def pooled_regions(features: Tensor, rois: Tensor, stride: int, size: int) -> Tensor:
    """Pool regions of one map by RoIAlign (with half-pixel alignment, like mmdet).

    Args:
        features: (B, C, H, W).
        rois: (R, 5) image, x1, y1, x2, y2.
        stride: The map's stride in input pixels.
        size: Height and width of a pooled region, in cells.

    Returns:
        (R, C, size, size), in at least float32.
    """
    from torchvision.ops import roi_align

    features = at_least_float32(features)
    regions: Tensor = roi_align(
        features, rois.to(features.dtype), (size, size), spatial_scale=1 / stride, aligned=True
    )
    return regions


def cells_inside(low: Tensor, high: Tensor, cells: int) -> Tensor:
    """Return which cells along one axis each region covers, at least one per region.

    Args:
        low: (R,) starts of the regions in cells, not rounded.
        high: (R,) ends of the regions in cells, not rounded.
        cells: Number of cells along the axis.

    Returns:
        (R, cells) booleans, true from floor(low) up to but excluding ceil(high), clipped to the axis.
    """
    first = low.floor().clamp(0, cells - 1)
    last = torch.maximum(high.ceil().clamp(max=cells), first + 1)
    index = torch.arange(cells, device=low.device)
    return (index >= first[:, None]) & (index < last[:, None])


def region_means(values: Tensor, rois: Tensor, stride: int) -> Tensor:
    """Return the mean of a map over the cells of each region, without padding, loops or synchronisation.

    Args:
        values: (B, H, W).
        rois: (R, 5) image, x1, y1, x2, y2.
        stride: The map's stride in input pixels.

    Returns:
        (R,), in at least float32.
    """
    values = at_least_float32(values)
    batch, height, width = values.shape
    x1, y1, x2, y2 = (rois[:, 1:] / stride).unbind(dim=1)
    rows = cells_inside(y1, y2, height).to(values.dtype)
    columns = cells_inside(x1, x2, width).to(values.dtype)
    image = functional.one_hot(rois[:, 0].long(), batch).to(values.dtype)
    picked = (image[:, :, None] * rows[:, None, :]).flatten(1)
    with torch.autocast(values.device.type, enabled=False):
        sums = ((picked @ values.flatten(0, 1)) * columns).sum(dim=1)
    return sums / (rows.sum(dim=1) * columns.sum(dim=1))


def coverage(
    rois: Tensor, batch: int, grid: tuple[int, int], stride: int, weights: Tensor | None = None
) -> Tensor:
    """Count the regions that touch each cell of a map.

    Args:
        rois: (R, 5) image, x1, y1, x2, y2; each touches at least one cell.
        batch: Number of images.
        grid: Height and width of the map, in cells.
        stride: The map's stride in input pixels.
        weights: (R,) weights of the regions; default: 1.

    Returns:
        (B, H, W) counts, or sums of weights, in float32.
    """
    x1, y1, x2, y2 = (rois[:, 1:] / stride).unbind(dim=1)
    rows, columns = cells_inside(y1, y2, grid[0]).float(), cells_inside(x1, x2, grid[1]).float()
    image = functional.one_hot(rois[:, 0].long(), batch).float()
    counted = image if weights is None else image * weights[:, None]
    picked = (counted[:, :, None] * rows[:, None, :]).flatten(1)
    with torch.autocast(rois.device.type, enabled=False):
        return (picked.T @ columns).view(batch, *grid)


def as_rois(boxes: Sequence[Tensor]) -> Tensor:
    """Convert one (N_i, 4) tensor per image to (sum N_i, 5) image, x1, y1, x2, y2, in float32."""
    return torch.cat([functional.pad(part.float(), (1, 0), value=image) for image, part in enumerate(boxes)])
