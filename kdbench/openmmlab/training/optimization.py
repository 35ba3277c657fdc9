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
    """Clips each parameter group by its own norm: an adapter's gradient does not shrink the student's."""

    optimizer: torch.optim.Optimizer
    clip_grad_kwargs: dict[str, Any]

    def _clip_grad(self) -> None:
        for group in self.optimizer.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            torch.nn.utils.clip_grad_norm_(parameters, **self.clip_grad_kwargs)


class GroupOptimWrapper(_ClipPerGroup, OptimWrapper):  # type: ignore[misc]
    """mmengine's wrapper, clipping per group."""


class GroupAmpOptimWrapper(_ClipPerGroup, AmpOptimWrapper):  # type: ignore[misc]
    """mmengine's AMP wrapper, clipping per group: float16, whose small gradients need their scale."""


class GroupBfloatOptimWrapper(GroupOptimWrapper):
    """Forward passes in bfloat16 on any device; its range is that of float32, so that no gradient is scaled.

    Args:
        device: Class of device of the model.
        others: As for mmengine's wrapper.
    """

    def __init__(self, device: str, **others: Any) -> None:
        super().__init__(**others)
        self.device = device

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Compute in bfloat16 where autocast does."""
        with super().optim_context(model), torch.autocast(self.device, dtype=torch.bfloat16):
            yield


def optim_wrapper(
    student: nn.Module, method: nn.Module, schedule: Schedule, precision: Precision, device: str
) -> OptimWrapper:
    """Return one optimizer over the student and the method's adapters, a group each.

    What needs no gradient is left out: frozen stages, an adversary (it has its own, see ``AdversaryHook``).

    Args:
        student: The student.
        method: The method, whose parameters are its adapters'.
        schedule: Gives the optimizer and its settings.
        precision: What forward passes compute in.
        device: Class of device that they run on.
    """
    groups = [{"params": [p for p in part.parameters() if p.requires_grad]} for part in (student, method)]
    groups = [group for group in groups if group["params"]]
    kernel = True if groups[0]["params"][0].device.type == "cuda" else None  # one for all parameters
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
    """Mmengine's parameter schedulers: linear warm-up, then the decay."""
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
