"""Deformable convolution, plain (v1) and modulated (v2), through torchvision.

Known gap: the derivative with respect to the offsets is not unique where a sample falls exactly on an integer
position or on the border of the image, and torchvision picks another one-sided value there than mmcv does.
Everywhere else, and in every other gradient, the two agree.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torchvision  # noqa: F401 - registers torch.ops.torchvision
from torch import Tensor

from kdbench.openmmlab.ops.precision import widened

GROUPS = ("group", "deformable_group")
PLAIN_SIZES = ("dH", "dW", "padH", "padW", "dilationH", "dilationW", *GROUPS)
MODULATED_SIZES = ("stride_h", "stride_w", "pad_h", "pad_w", "dilation_h", "dilation_w", *GROUPS)


class Gradients(NamedTuple):
    """What torchvision's backward gives, in its order."""

    input: Tensor
    weight: Tensor
    offset: Tensor
    mask: Tensor
    bias: Tensor


class Call(NamedTuple):
    """Arguments that torchvision's forward and backward share; ``sizes`` in its order, y before x."""

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
        """Gradients of all inputs, given that of the output."""
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
            im2col_step``; the last is a matter of memory only.
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
