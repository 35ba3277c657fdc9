"""Losses of mmdet that ask the device for row numbers, which they do not need."""

from __future__ import annotations

from typing import Any

import torch
from mmdet.models.losses.cross_entropy_loss import binary_cross_entropy
from torch import Tensor

from kdbench.devices import CPU


def without_waiting(pred: Tensor, label: Tensor, weight: Tensor | None = None, **options: Any) -> Tensor:
    """Compute mmdet's ``binary_cross_entropy`` of class indices; on a CPU its own.

    Args:
        pred: (N, C) logits.
        label: (N,) class indices.
        weight: (N,).
        options: Of mmdet's function.
    """
    counted = options.get("avg_factor") is None and options.get("avg_non_ignore")
    if pred.device.type != CPU and pred.dim() != label.dim() and weight is not None and not counted:
        label, weight = expanded(label, weight, pred.shape[-1], options.get("ignore_index"))
    loss: Tensor = binary_cross_entropy(pred, label, weight, **options)
    return loss


def expanded(label: Tensor, weight: Tensor, classes: int, ignored: int | None) -> tuple[Tensor, Tensor]:
    """Class indices (N,) as ones and zeros (N, C), and the weights of these."""
    valid = (label >= 0) & (label != (-100 if ignored is None else ignored))
    own = (label[:, None] == torch.arange(classes, device=label.device)) & valid[:, None]
    return own.long(), weight[:, None].repeat(1, classes) * valid[:, None].float()
