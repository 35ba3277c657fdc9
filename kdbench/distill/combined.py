"""The sum of several methods."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from kdbench.cards import Options
from kdbench.distill.captures import Shapes
from kdbench.distill.method import Method, Step, check_terms
from kdbench.errors import UserError, running


class Combined(Method[Options]):
    """A method with the terms of several methods, which share the captures.

    Each part has the same initial adapters and draws the same random numbers as it does alone. The parts' factors
    on the student's own loss are multiplied.

    Args:
        options: The sum's options.
        parts: Name -> method, not yet built.
    """

    def __init__(self, options: Options, parts: Mapping[str, Method[Any]]) -> None:
        super().__init__(options)
        self.names = tuple(parts)
        self.parts = nn.ModuleList(parts.values())

    def named_parts(self) -> Iterator[tuple[str, Method[Any]]]:
        """Yield the name and the method of each part."""
        return zip(self.names, self.parts, strict=True)  # type: ignore[arg-type]

    def needs(self) -> tuple[str, ...]:
        """Return the captures that any part needs."""
        return tuple(dict.fromkeys(chain.from_iterable(part.needs() for _, part in self.named_parts())))

    def wants(self) -> tuple[str, ...]:
        """Return the optional captures of all parts."""
        return tuple(dict.fromkeys(chain.from_iterable(part.wants() for _, part in self.named_parts())))

    def build(self, shapes: Shapes) -> None:
        """Build each part with the same random state as when it is built alone.

        Raises:
            UserError: If more than one part has an adversary.
        """
        for name, part in self.named_parts():
            with torch.random.fork_rng(devices=[]), running(f"method '{name}'", "build()"):
                part.build(shapes)
        rivals = [name for name, part in self.named_parts() if part.adversary() is not None]
        if len(rivals) > 1:
            raise UserError(f"{' and '.join(rivals)} have an adversary each: a sum can have one of them.")

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Return the terms of all parts, named ``method.term``."""
        if step.iteration == 0:
            self._check_no_stages(step)
        terms: dict[str, Tensor] = {}
        for name, part in self.named_parts():
            with running(f"method '{name}'", "losses()"):
                own = part.losses(replace(step, generator=step.generator.clone_state()))
                check_terms(own)
            terms |= {f"{name}.{term}": value for term, value in own.items()}
        return terms

    def _check_no_stages(self, step: Step) -> None:
        """Refuse a part that trains in stages, since the terms of other parts would disturb its stages."""
        last = replace(step, iteration=step.iterations - 1)
        for name, part in self.named_parts():
            if any(weight(step) != weight(last) for weight in (part.task_weight, part.head_weight)):
                raise UserError(
                    f"'{name}' trains in stages with these options, so nothing can be added to it: choose a "
                    "variant without stages, or run it alone."
                )

    def task_weight(self, step: Step) -> float:
        """Return the product of the parts' factors."""
        return math.prod(part.task_weight(step) for _, part in self.named_parts())

    def classification_weight(self, step: Step) -> float:
        """Return the product of the parts' factors."""
        return math.prod(part.classification_weight(step) for _, part in self.named_parts())

    def head_weight(self, step: Step) -> float:
        """Return the product of the parts' factors."""
        return math.prod(part.head_weight(step) for _, part in self.named_parts())

    def adversary(self) -> nn.Module | None:
        """Return the adversary of the part that has one."""
        return None if (part := self._rival()) is None else part.adversary()

    def adversary_losses(self, step: Step) -> dict[str, Tensor]:
        """Return the terms of the adversary."""
        part = self._rival()
        return super().adversary_losses(step) if part is None else part.adversary_losses(step)

    def adversary_optimizer(self, parameters: list[nn.Parameter]) -> Optimizer:
        """Return the optimizer of the adversary."""
        part = self._rival()
        return (
            super().adversary_optimizer(parameters) if part is None else part.adversary_optimizer(parameters)
        )

    def _rival(self) -> Method[Any] | None:
        return next((part for _, part in self.named_parts() if part.adversary() is not None), None)

    def attention(self, step: Step) -> dict[str, Tensor]:
        """Return where each part attends."""
        return {
            f"{name}, {title}": weights
            for name, part in self.named_parts()
            for title, weights in part.attention(step).items()
        }

    def notes(self) -> list[str]:
        """Return the notes of all parts."""
        return [f"{name}, {note}" for name, part in self.named_parts() for note in part.notes()]
