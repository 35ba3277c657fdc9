"""Optimizer, learning rate and gradient clipping from a schedule."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from torch import nn

from kdbench.specs import Precision, Schedule


class _ClipPerGroup:
    """A mixin that clips each parameter group by its own norm, since adapters must not shrink the student's."""

    optimizer: torch.optim.Optimizer
    clip_grad_kwargs: dict[str, Any]

    def _clip_grad(self) -> None:
        for group in self.optimizer.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            torch.nn.utils.clip_grad_norm_(parameters, **self.clip_grad_kwargs)


class GroupOptimWrapper(_ClipPerGroup, OptimWrapper):  # type: ignore[misc]
    """mmengine's wrapper, clipping per group."""


class GroupAmpOptimWrapper(_ClipPerGroup, AmpOptimWrapper):  # type: ignore[misc]
    """mmengine's AMP wrapper for float16 with scaled gradients, clipping per group."""


class GroupBfloatOptimWrapper(GroupOptimWrapper):
    """Forward passes in bfloat16 on any device; with the range of float32, gradients need no scale.

    Args:
        device: Type of the model's device.
        others: Arguments of mmengine's wrapper.
    """

    def __init__(self, device: str, **others: Any) -> None:
        super().__init__(**others)
        self.device = device

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Compute in bfloat16 under autocast."""
        with super().optim_context(model), torch.autocast(self.device, dtype=torch.bfloat16):
            yield


def optim_wrapper(
    student: nn.Module, method: nn.Module, schedule: Schedule, precision: Precision, device: str
) -> OptimWrapper:
    """Return one optimizer for the student and the method's adapters, a parameter group each.

    Parameters without gradient are left out: frozen stages and an adversary (see ``AdversaryHook``).

    Args:
        student: The student.
        method: The method; its parameters are those of its adapters.
        schedule: Provides the optimizer and its settings.
        precision: Precision of the forward passes.
        device: Type of the device.
    """
    groups = [{"params": [p for p in part.parameters() if p.requires_grad]} for part in (student, method)]
    groups = [group for group in groups if group["params"]]
    kernel = True if groups[0]["params"][0].device.type == "cuda" else None  # one kernel for all parameters
    if schedule.optimizer == "SGD":
        optimizer: torch.optim.Optimizer = torch.optim.SGD(
            groups, lr=schedule.lr, momentum=0.9, weight_decay=schedule.weight_decay, fused=kernel
        )
    else:
        optimizer = torch.optim.AdamW(
            groups, lr=schedule.lr, weight_decay=schedule.weight_decay, fused=kernel
        )
    clip = None if schedule.clip_norm is None else {"max_norm": schedule.clip_norm}
    settings = {"optimizer": optimizer, "clip_grad": clip, "accumulative_counts": schedule.accumulate}
    if precision == "fp16":
        return GroupAmpOptimWrapper(**settings)
    if precision == "bf16":
        return GroupBfloatOptimWrapper(device, **settings)
    return GroupOptimWrapper(**settings)


def learning_rate(schedule: Schedule) -> list[dict[str, Any]]:
    """Return mmengine's parameter schedulers: linear warm-up, then the decay."""
    total, warmup = schedule.iterations, min(schedule.warmup, schedule.iterations - 1)
    schedulers: list[dict[str, Any]] = []
    if warmup:
        schedulers.append(
            {"type": "LinearLR", "start_factor": 0.01, "by_epoch": False, "begin": 0, "end": warmup}
        )
    span = {"by_epoch": False, "begin": warmup, "end": total}
    if schedule.decay == "cosine":
        schedulers.append({"type": "CosineAnnealingLR", "T_max": total - warmup, "eta_min": 0.0, **span})
    elif schedule.decay == "poly":
        schedulers.append({"type": "PolyLR", "power": 0.9, "eta_min": 0.0, **span})
    else:
        milestones = sorted({max(1, total * 2 // 3), max(1, total * 8 // 9)})
        schedulers.append({"type": "MultiStepLR", "milestones": milestones, "gamma": 0.1, "by_epoch": False})
    return schedulers
