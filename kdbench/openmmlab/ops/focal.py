"""Focal losses. Source: mmcv/ops/csrc/common/cuda/sigmoid_ and softmax_focal_loss_cuda_kernel.cuh."""

from __future__ import annotations

import torch
from torch import Tensor

from kdbench.openmmlab.ops.common import widened

TINY = torch.finfo(torch.float32).tiny


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Write the loss of each sample and class into ``output``.

    Args:
        input: ``(N, C)`` logits.
        target: ``(N,)`` class indices; an index outside [0, C) is background.
        weight: ``(C,)`` weights by a sample's class, or empty.
        output: ``(N, C)``.
        gamma: Exponent of the focusing factor.
        alpha: Weight of positives; negatives get 1 - alpha.

    Raises:
        ValueError: If there are weights, but none for a target (mmcv reads beyond its memory there).
    """
    p, positive = widened(input).sigmoid(), _is_own_class(input, target)
    loss = torch.where(
        positive,
        -alpha * (1 - p) ** gamma * p.clamp(min=TINY).log(),
        -(1 - alpha) * p**gamma * (1 - p).clamp(min=TINY).log(),
    )
    output.copy_(loss * _sample_weights(weight, target)[:, None] if weight.numel() else loss)


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Write the derivative of each element of :func:`sigmoid_focal_loss_forward` into ``grad_input``."""
    p, positive = widened(input).sigmoid(), _is_own_class(input, target)
    log_p, log_q = p.clamp(min=TINY).log(), (1 - p).clamp(min=TINY).log()
    gradient = torch.where(
        positive,
        -alpha * (1 - p) ** gamma * (1 - p - gamma * p * log_p),
        -(1 - alpha) * p**gamma * (gamma * (1 - p) * log_q - p),
    )
    grad_input.copy_(gradient * _sample_weights(weight, target)[:, None] if weight.numel() else gradient)


def softmax_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Write the loss of each sample into ``output``.

    Args:
        input: ``(N, C)`` probabilities: mmcv takes the softmax before.
        target: ``(N,)`` class indices; a negative one is ignored (loss 0).
        weight: ``(C,)`` weights by class, or empty.
        output: ``(N,)``.
        gamma: Exponent of the focusing factor.
        alpha: Weight of the loss.
    """
    p, valid = _picked(input, target), target >= 0
    loss = torch.where(valid, -alpha * (1 - p) ** gamma * p.clamp(min=TINY).log(), 0)
    output.copy_(loss * _sample_weights(weight, target.clamp(min=0)) if weight.numel() else loss)


def softmax_focal_loss_backward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    buff: Tensor,
    grad_input: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Write the derivative with respect to the logits into ``grad_input``, and by sample into ``buff``."""
    p, valid = _picked(input, target), target >= 0
    factor = alpha * (-((1 - p) ** gamma) + gamma * (1 - p) ** (gamma - 1) * p * p.clamp(min=TINY).log())
    if weight.numel():
        factor = factor * _sample_weights(weight, target.clamp(min=0))
    factor = torch.where(valid, factor, 0)
    buff.copy_(factor)
    gradient = factor[:, None] * (_is_own_class(input, target).to(factor.dtype) - widened(input))
    grad_input.copy_(torch.where(valid[:, None], gradient, 0))


def _is_own_class(input: Tensor, target: Tensor) -> Tensor:
    return target[:, None] == torch.arange(input.shape[1], device=input.device)


def _picked(softmax: Tensor, target: Tensor) -> Tensor:
    """Return the probability of each sample's own class."""
    return widened(softmax).gather(1, target.clamp(min=0)[:, None])[:, 0]


def _sample_weights(weight: Tensor, target: Tensor) -> Tensor:
    """Return the weight of each sample."""
    if bool(((target < 0) | (target >= weight.numel())).any()):
        raise ValueError(f"focal loss: {weight.numel()} class weights, but a target outside of them")
    return widened(weight)[target]
