"""Reads the losses of a training: whether they are finite, and how much of the gradient is the method's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from kdbench.devices import CPU

EVERY = 10
"""Steps between two reads on an accelerator, where the host waits for each; on a CPU every step is read."""
WINDOW = 5
"""Iterations over which a share is averaged."""
SCALE = 2.0**10
"""Factor on both losses, so that their gradients do not vanish in float16."""


class NonFiniteLoss(Exception):
    """A loss became NaN or infinite.

    Args:
        iteration: Iteration in which it did.
        name: The first such loss, in the order of computation.
        value: What it was.
    """

    def __init__(self, iteration: int, name: str, value: float) -> None:
        super().__init__(f"{name} became {value} at iteration {iteration}")
        self.iteration, self.name, self.value = iteration, name, value


class LossReader:
    """Leaves the losses of each step on their device and reads them together every few steps.

    Args:
        iterations: Iterations of the whole training; the last one is read.
    """

    def __init__(self, iterations: int) -> None:
        self.iterations = iterations
        self._unread: list[tuple[int, list[str], Tensor]] = []
        self._first: int | None = None

    def due(self, iteration: int, device: torch.device) -> bool:
        """Whether an iteration is read: on an accelerator every tenth, the last, and a process's first."""
        always = device.type == CPU or self._first in (None, iteration)
        return always or (iteration + 1) % EVERY == 0 or iteration + 1 == self.iterations

    def add(self, iteration: int, logged: dict[str, Tensor]) -> dict[str, float]:
        """Add an iteration's losses; return them if this iteration is read, else nothing.

        Raises:
            NonFiniteLoss: If it is read, and one since the last read is not finite.
        """
        due = self.due(iteration, logged["loss"].device)
        values = torch.stack([value.detach().reshape(()) for value in logged.values()])
        self._unread.append((iteration, list(logged), values))
        self._first = iteration if self._first is None else self._first
        return self.read() if due else {}

    def read(self) -> dict[str, float]:
        """Read what was added since the last read, in one copy; return the last iteration's.

        Raises:
            NonFiniteLoss: For the first iteration, and in it the first loss, that is not finite.
        """
        unread, self._unread, last = self._unread, [], {}
        values = iter(torch.cat([values for _, _, values in unread]).tolist() if unread else [])
        for iteration, names, _ in unread:
            last = {name: next(values) for name in names}
            if not math.isfinite(last["loss"]):
                _raise(iteration, {name: value for name, value in last.items() if "loss" in name})
        return last


def _raise(iteration: int, losses: dict[str, float]) -> None:
    bad = [name for name, value in losses.items() if not math.isfinite(value)]
    first = next((name for name in bad if name != "loss"), "loss")
    raise NonFiniteLoss(iteration, first, losses[first])


class Shares:
    """The method's share of the gradient at the start of a training, after a quarter and half-way.

    Each is the mean over :data:`WINDOW` iterations.

    Args:
        iterations: Iterations of the whole training.
    """

    def __init__(self, iterations: int) -> None:
        self.begins = {"start": 0, "quarter": iterations // 4, "half": iterations // 2}
        self.seen: dict[str, dict[int, float]] = {}
        """Name -> iteration -> share, in [0, 1]."""
        self.seconds = 0.0
        """Time that measuring took in this iteration, in s."""

    def due(self, iteration: int) -> list[str]:
        """Return the names of the shares that an iteration is part of."""
        return [name for name, begin in self.begins.items() if begin <= iteration < begin + WINDOW]

    def note(self, iteration: int, share: float) -> None:
        """Add the share of an iteration; one that is not finite is left out."""
        for name in self.due(iteration) if math.isfinite(share) else ():
            self.seen[name] = {**self.seen.get(name, {}), iteration: share}

    def means(self) -> dict[str, float]:
        """Return ``gradient_share_start``, ``_quarter`` and ``_half``, those that were measured."""
        return {f"gradient_share_{name}": sum(of.values()) / len(of) for name, of in self.seen.items()}


def shared_parameters(student: nn.Module) -> list[nn.Parameter]:
    """Return the trained parameters of the backbone and the neck, which the task and the method share."""
    parts = [getattr(student, name, None) for name in ("backbone", "neck")]
    return [p for part in parts if part is not None for p in part.parameters() if p.requires_grad]


def share_of(method: Tensor, task: Tensor, parameters: Sequence[nn.Parameter]) -> float:
    """Return |gradient of the method| / (|gradient of the method| + |gradient of the task|), in [0, 1].

    The graph stays as it is, and so do the gradients that the parameters have.

    Args:
        method: The method's terms, summed; a scalar.
        task: The task's losses, summed; a scalar.
        parameters: Parameters whose gradients are compared.
    """
    of_method, of_task = _norm(method, parameters), _norm(task, parameters)
    return of_method / (of_method + of_task) if of_method else 0.0


def _norm(loss: Tensor, parameters: Sequence[nn.Parameter]) -> float:
    if not loss.requires_grad or not parameters:
        return 0.0
    gradients = torch.autograd.grad(SCALE * loss, parameters, retain_graph=True, allow_unused=True)
    return float(get_total_norm([gradient for gradient in gradients if gradient is not None])) / SCALE


def split_by_prefix(losses: Mapping[str, Any], prefix: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split losses into those whose names begin with a prefix and the others."""
    method = {name: value for name, value in losses.items() if name.startswith(prefix)}
    return method, {name: value for name, value in losses.items() if name not in method}
