"""RoIAlign through torchvision, whose kernel is the one that mmcv's average mode comes from."""

from __future__ import annotations

import torch
import torchvision  # noqa: F401 - registers torch.ops.torchvision
from torch import Tensor

from kdbench.openmmlab.ops.precision import widened
from kdbench.openmmlab.ops.unsupported import unsupported

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
