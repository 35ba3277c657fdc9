"""How much of the gradient on the student's backbone and neck is the method's, measured while it trains."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.hooks import Hook
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

WINDOW = 5
"""Iterations over which a share is averaged."""
SCALE = 2.0**10
"""Factor on both losses, so that their gradients do not vanish in float16."""


class Shares:
    """The shares of a training: at its start, after a quarter and half-way, each the mean of some iterations.

    Args:
        iterations: Iterations of the whole training.
    """

    def __init__(self, iterations: int) -> None:
        self.begins = {"start": 0, "quarter": iterations // 4, "half": iterations // 2}
        self.seen: dict[str, dict[int, float]] = {}
        """Name -> iteration -> share, in [0, 1]."""
        self.seconds = 0.0
        """What measuring took in this iteration, in s."""

    def due(self, iteration: int) -> list[str]:
        """Return the names of the shares that an iteration counts for."""
        return [name for name, begin in self.begins.items() if begin <= iteration < begin + WINDOW]

    def note(self, iteration: int, share: float) -> None:
        """Keep the share of an iteration; one that is not finite is left out."""
        for name in self.due(iteration) if math.isfinite(share) else ():
            self.seen[name] = {**self.seen.get(name, {}), iteration: share}

    def means(self) -> dict[str, float]:
        """Return ``gradient_share_start``, ``_quarter`` and ``_half``, those that were measured."""
        return {f"gradient_share_{name}": sum(of.values()) / len(of) for name, of in self.seen.items()}


class SharesHook(Hook):  # type: ignore[misc]
    """Keeps the shares in the checkpoint, so that a resumed run has them all."""

    key = "kdbench_shares"

    def before_train(self, runner: Any) -> None:
        """Take up the shares of an interrupted training."""
        hub, shares = runner.message_hub, _shares(runner)
        if runner.iter and self.key in hub.runtime_info:
            shares.seen = hub.get_info(self.key)
        hub.update_info(self.key, shares.seen)

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Hand on what was measured."""
        if _shares(runner).due(runner.iter):
            runner.message_hub.update_info(self.key, _shares(runner).seen)


def _shares(runner: Any) -> Shares:
    shares: Shares = getattr(runner.model, "module", runner.model).shares
    return shares


def shared_parameters(student: nn.Module) -> list[nn.Parameter]:
    """Return what trains in the backbone and the neck, which the task and the method share."""
    parts = [getattr(student, name, None) for name in ("backbone", "neck")]
    return [p for part in parts if part is not None for p in part.parameters() if p.requires_grad]


def share_of(method: Tensor, task: Tensor, parameters: Sequence[nn.Parameter]) -> float:
    """Return |gradient of the method| / (|gradient of the method| + |gradient of the task|), in [0, 1].

    The graph stays as it is, and so do the gradients that the parameters have.

    Args:
        method: The method's terms, summed; a scalar.
        task: The task's losses, summed; a scalar.
        parameters: The gradients are those of these parameters.
    """
    ours, theirs = _norm(method, parameters), _norm(task, parameters)
    return ours / (ours + theirs) if ours else 0.0


def _norm(loss: Tensor, parameters: Sequence[nn.Parameter]) -> float:
    if not loss.requires_grad or not parameters:
        return 0.0
    gradients = torch.autograd.grad(SCALE * loss, parameters, retain_graph=True, allow_unused=True)
    return float(get_total_norm([gradient for gradient in gradients if gradient is not None])) / SCALE


def parts_of(losses: Mapping[str, Any], prefix: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split losses into those whose names begin with a prefix and the others."""
    method = {name: value for name, value in losses.items() if name.startswith(prefix)}
    return method, {name: value for name, value in losses.items() if name not in method}
