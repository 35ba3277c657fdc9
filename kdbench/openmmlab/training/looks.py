"""A step's losses are read when they are looked at: in each step on a CPU, in every tenth one on a GPU."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kdbench.devices import CPU

EVERY = 10
"""Steps between two looks at an accelerator, where the host waits for each."""


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


class Looks:
    """Keeps the losses of the steps since the last look where they are.

    Args:
        iterations: Iterations of the whole training; the last one is looked at.
    """

    def __init__(self, iterations: int) -> None:
        self.iterations = iterations
        self._kept: list[tuple[int, list[str], Tensor]] = []
        self._first: int | None = None

    def due(self, iteration: int, device: torch.device) -> bool:
        """Whether an iteration is looked at: on an accelerator every tenth, the last, and a process's first."""
        always = device.type == CPU or self._first in (None, iteration)
        return always or (iteration + 1) % EVERY == 0 or iteration + 1 == self.iterations

    def note(self, iteration: int, logged: dict[str, Tensor]) -> dict[str, float]:
        """Keep an iteration's losses; those of this iteration if it is looked at, else nothing.

        Raises:
            NonFiniteLoss: If it is looked at, and one since the last look is not finite.
        """
        due = self.due(iteration, logged["loss"].device)
        values = torch.stack([value.detach().reshape(()) for value in logged.values()])
        self._kept.append((iteration, list(logged), values))
        self._first = iteration if self._first is None else self._first
        return self.look() if due else {}

    def look(self) -> dict[str, float]:
        """Read what was kept, in one copy; gives the last iteration's.

        Raises:
            NonFiniteLoss: For the first iteration, and in it the first loss, that is not finite.
        """
        kept, self._kept, last = self._kept, [], {}
        values = iter(torch.cat([values for _, _, values in kept]).tolist() if kept else [])
        for iteration, names, _ in kept:
            last = {name: next(values) for name in names}
            if not math.isfinite(last["loss"]):
                _raise(iteration, {name: value for name, value in last.items() if "loss" in name})
        return last


def _raise(iteration: int, losses: dict[str, float]) -> None:
    bad = [name for name, value in losses.items() if not math.isfinite(value)]
    first = next((name for name in bad if name != "loss"), "loss")
    raise NonFiniteLoss(iteration, first, losses[first])
