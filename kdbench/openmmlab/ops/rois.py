"""RoIAlign through torchvision, whose kernel mmcv's average mode is derived from, and RoIPool (max).

RoIPool follows mmcv/ops/csrc/common/cuda/roi_pool_cuda_kernel.cuh and not torchvision's roi_pool, which rounds the
RoI's corners to pixels first. One difference from mmcv: a RoI without area sends no gradient (mmcv sends it to the
image's first pixel).
"""

from __future__ import annotations

import math

import torch
import torchvision  # noqa: F401 - registers torch.ops.torchvision
from torch import Tensor

from kdbench.openmmlab.ops.common import unsupported, widened

Bins = list[list[int]]
Edges = list[Bins]
AVERAGE = 1


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Pool each RoI of ``input`` into ``output``.

    Args:
        input: ``(B, C, H, W)``.
        rois: ``(N, 5)`` image index and corners, in image pixels.
        output: ``(N, C, aligned_height, aligned_width)``, written.
        argmax_y: Of the max mode only.
        argmax_x: Of the max mode only.
        aligned_height: Bins down.
        aligned_width: Bins across.
        spatial_scale: Feature pixels an image pixel.
        sampling_ratio: Samples a bin and axis; 0 takes as many as the bin has pixels.
        pool_mode: 1 (average); 0 (max) raises NotImplementedError.
        aligned: Shift by half a pixel, so that pixel centres lie at integers.
    """
    _average_only("roi_align_forward", pool_mode)
    wide = widened(input)
    output.copy_(
        torch.ops.torchvision.roi_align(
            wide, rois.to(wide.dtype), spatial_scale, aligned_height, aligned_width, sampling_ratio, aligned
        )
    )


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Write the gradient of :func:`roi_align_forward` with respect to its input into ``grad_input``."""
    _average_only("roi_align_backward", pool_mode)
    wide = widened(grad_output)
    grad_input.copy_(
        torch.ops.torchvision._roi_align_backward(
            wide,
            rois.to(wide.dtype),
            spatial_scale,
            aligned_height,
            aligned_width,
            *grad_input.shape,
            sampling_ratio,
            aligned,
        )
    )


def _average_only(name: str, pool_mode: int) -> None:
    if pool_mode != AVERAGE:
        unsupported(f"{name} with pool_mode='max'")()


def roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Take the maximum of each bin of each RoI.

    Args:
        input: ``(B, C, H, W)``.
        rois: ``(N, 5)`` image index and corners (the last pixel included), in image pixels.
        output: ``(N, C, pooled_height, pooled_width)``, written; 0 for a bin without pixels.
        argmax: Same shape, written: position of the maximum in its flattened map, -1 without one.
        pooled_height: Bins down.
        pooled_width: Bins across.
        spatial_scale: Feature pixels an image pixel.
    """
    wide, corners = widened(input), widened(rois)
    rows = _bins(corners[:, 2], corners[:, 4], spatial_scale, pooled_height, input.shape[-2])
    columns = _bins(corners[:, 1], corners[:, 3], spatial_scale, pooled_width, input.shape[-1])
    for index, image in enumerate(rois[:, 0].long().tolist()):
        values, positions = _pool(wide[image], rows[index], columns[index])
        output[index] = values.masked_fill(positions < 0, 0)
        argmax[index] = positions


def roi_pool_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax: Tensor,
    grad_input: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Send each bin's gradient to the pixel that was its maximum; writes ``grad_input``."""
    channels = grad_input.shape[1]
    flat = torch.zeros_like(widened(grad_input)).flatten(2).flatten(0, 1)
    place = rois[:, :1].long() * channels + torch.arange(channels, device=rois.device)
    positions = argmax.flatten(2).long()
    gradient = widened(grad_output).flatten(2).masked_fill(positions < 0, 0)
    flat.index_put_((place[..., None], positions.clamp(min=0)), gradient, accumulate=True)
    grad_input.copy_(flat.view_as(grad_input))


def _bins(start: Tensor, end: Tensor, scale: float, count: int, limit: int) -> Edges:
    """First and one past the last pixel of each bin of an axis, by RoI; equal when the RoI has no extent."""
    low = (start * scale)[:, None]
    step = ((end + 1) * scale)[:, None].sub(low) / count
    index = torch.arange(count, device=start.device)
    first = (index * step + low).floor().clamp(0, limit)
    last = ((index + 1) * step + low).ceil().clamp(0, limit)
    edges: Edges = torch.stack((first, last.where(step > 0, first)), dim=-1).long().tolist()
    return edges


def _pool(image: Tensor, rows: Bins, columns: Bins) -> tuple[Tensor, Tensor]:
    """Maxima ``(C, len(rows), len(columns))`` and their flat positions: across first, then down."""
    channels, height, width = image.shape
    across = image.new_full((channels, height, len(columns)), -math.inf)
    at_column = across.new_full(across.shape, -1, dtype=torch.long)
    for index, (first, last) in enumerate(columns):
        if first < last:
            across[..., index], at_column[..., index] = image[..., first:last].max(dim=-1)
            at_column[..., index] += first
    values = image.new_zeros((channels, len(rows), len(columns)))
    positions = at_column.new_full(values.shape, -1)
    for index, (first, last) in enumerate(rows):
        if first < last:
            values[:, index], row = across[:, first:last].max(dim=1)
            column = at_column.gather(1, (row + first)[:, None])[:, 0]
            positions[:, index] = torch.where(column < 0, -1, (row + first) * width + column)
    return values, positions
