"""Deformable convolution, plain (v1) and modulated (v2), through torchvision, and deformable attention.

Known difference: the derivative with respect to the offsets is not unique where a sample falls exactly on an
integer position or on the border of the image, and torchvision picks another one-sided value there than mmcv does.
Elsewhere, and in every other gradient, the two agree.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torchvision  # noqa: F401 - registers torch.ops.torchvision
from torch import Tensor

from kdbench.openmmlab.ops.common import widened

GROUPS = ("group", "deformable_group")
PLAIN_SIZES = ("dH", "dW", "padH", "padW", "dilationH", "dilationW", *GROUPS)
MODULATED_SIZES = ("stride_h", "stride_w", "pad_h", "pad_w", "dilation_h", "dilation_w", *GROUPS)


class Gradients(NamedTuple):
    """Gradients that torchvision's backward returns, in its order."""

    input: Tensor
    weight: Tensor
    offset: Tensor
    mask: Tensor
    bias: Tensor


class Call(NamedTuple):
    """Arguments of torchvision's forward and backward; ``sizes`` are in its order, y before x."""

    input: Tensor
    weight: Tensor
    offset: Tensor
    mask: Tensor
    bias: Tensor
    sizes: tuple[int, ...]
    modulated: bool

    def forward(self) -> Tensor:
        """Return the convolution, ``(B, C_out, H_out, W_out)``."""
        result: Tensor = torch.ops.torchvision.deform_conv2d(*self[:5], *self.sizes, self.modulated)
        return result

    def backward(self, gradient: Tensor) -> Gradients:
        """Return the gradients of all inputs, given that of the output."""
        return Gradients(
            *torch.ops.torchvision._deform_conv2d_backward(
                widened(gradient), *self[:5], *self.sizes, self.modulated
            )
        )


def deform_conv_forward(
    input: Tensor, weight: Tensor, offset: Tensor, output: Tensor, columns: Tensor, ones: Tensor, **sizes: int
) -> None:
    """Write the plain deformable convolution into ``output``.

    Args:
        input: ``(B, C_in, H, W)``.
        weight: ``(C_out, C_in / groups, k_h, k_w)``.
        offset: ``(B, 2 * deform_groups * k_h * k_w, H_out, W_out)``, y before x, in pixels.
        output: ``(B, C_out, H_out, W_out)``.
        columns: mmcv's buffer, unused.
        ones: mmcv's buffer, unused.
        sizes: mmcv's ``kW, kH, dW, dH, padW, padH, dilationW, dilationH, group, deformable_group,
            im2col_step``; the last only saves memory in mmcv.
    """
    output.copy_(_plain(input, weight, offset, sizes).forward())


def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    weight: Tensor,
    columns: Tensor,
    **sizes: int,
) -> None:
    """Write the gradients of the input and of the offsets (see the module about integer positions)."""
    gradients = _plain(input, weight, offset, sizes).backward(grad_output)
    grad_input.copy_(gradients.input)
    grad_offset.copy_(gradients.offset)


def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_weight: Tensor,
    columns: Tensor,
    ones: Tensor,
    scale: float,
    **sizes: int,
) -> None:
    """Write ``scale`` times the gradient of the weight."""
    gradients = _plain(input, grad_weight, offset, sizes).backward(grad_output)
    grad_weight.copy_(scale * gradients.weight)


def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    *,
    with_bias: bool,
    **sizes: int,
) -> None:
    """Write the modulated deformable convolution into ``output``.

    As :func:`deform_conv_forward`, with ``mask`` ``(B, deform_groups * k_h * k_w, H_out, W_out)`` multiplied
    to the samples and ``bias`` ``(C_out,)`` added (empty without one).
    """
    output.copy_(_modulated(input, weight, bias if with_bias else None, offset, mask, sizes).forward())


def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    *,
    with_bias: bool,
    **sizes: int,
) -> None:
    """Write the five gradients (see the module about integer positions)."""
    call = _modulated(input, weight, bias if with_bias else None, offset, mask, sizes)
    gradients = call.backward(grad_output)
    grad_input.copy_(gradients.input)
    grad_weight.copy_(gradients.weight)
    grad_offset.copy_(gradients.offset)
    grad_mask.copy_(gradients.mask)
    if with_bias:
        grad_bias.copy_(gradients.bias)


def _plain(input: Tensor, weight: Tensor, offset: Tensor, sizes: dict[str, int]) -> Call:
    wide = widened(input)
    bias, mask = wide.new_zeros(len(weight)), wide.new_zeros((len(wide), 1))
    ordered = tuple(sizes[name] for name in PLAIN_SIZES)
    return Call(wide, widened(weight), widened(offset), mask, bias, ordered, modulated=False)


def _modulated(
    input: Tensor, weight: Tensor, bias: Tensor | None, offset: Tensor, mask: Tensor, sizes: dict[str, int]
) -> Call:
    wide = widened(input)
    full = wide.new_zeros(len(weight)) if bias is None else widened(bias)
    ordered = tuple(sizes[name] for name in MODULATED_SIZES)
    return Call(wide, widened(weight), widened(offset), widened(mask), full, ordered, modulated=True)


def ms_deform_attn_forward(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int,
) -> Tensor:
    """Return the weighted sum of samples of several feature levels, by mmcv's own PyTorch function.

    Args:
        value: ``(B, keys, heads, channels)``, the levels one after another.
        spatial_shapes: ``(levels, 2)`` height and width of each level.
        level_start_index: Implied by ``spatial_shapes``, unused.
        sampling_locations: ``(B, queries, heads, levels, points, 2)``, x before y, in [0, 1].
        attention_weights: ``(B, queries, heads, levels, points)``.
        im2col_step: Only saves memory in mmcv, unused.

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
