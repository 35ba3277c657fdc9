"""Multi-scale deformable attention: mmcv's own PyTorch function where it would call CUDA code."""

from __future__ import annotations

import torch
from torch import Tensor

from kdbench.openmmlab.ops.precision import widened


def ms_deform_attn_forward(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int,
) -> Tensor:
    """Weighted sum of samples of several feature levels.

    Args:
        value: ``(B, keys, heads, channels)``, the levels one after another.
        spatial_shapes: ``(levels, 2)`` height and width of each level.
        level_start_index: Implied by ``spatial_shapes``, unused.
        sampling_locations: ``(B, queries, heads, levels, points, 2)``, x before y, in [0, 1].
        attention_weights: ``(B, queries, heads, levels, points)``.
        im2col_step: A matter of memory in mmcv, unused.

    Returns:
        ``(B, queries, heads * channels)``.
    """
    wide = (widened(value), widened(sampling_locations), widened(attention_weights))
    return _attend(spatial_shapes, *wide).to(value.dtype)


def ms_deform_attn_backward(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_sampling_loc: Tensor,
    grad_attn_weight: Tensor,
    im2col_step: int,
) -> None:
    """Write the gradients of :func:`ms_deform_attn_forward` into the last three tensors."""
    leaves = [
        widened(tensor).detach().requires_grad_() for tensor in (value, sampling_locations, attention_weights)
    ]
    with torch.enable_grad():
        output = _attend(spatial_shapes, *leaves)
    gradients = torch.autograd.grad(output, leaves, grad_output.to(output.dtype))
    for target, gradient in zip((grad_value, grad_sampling_loc, grad_attn_weight), gradients, strict=True):
        target.copy_(gradient)


def _attend(spatial_shapes: Tensor, value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

    result: Tensor = multi_scale_deformable_attn_pytorch(value, spatial_shapes.tolist(), locations, weights)
    return result
