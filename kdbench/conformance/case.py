"""A variant of a method on the recorded batch of a family, or on a transformed form of this batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from kdbench.cards import Options
from kdbench.conformance.batches import HORIZONTAL, VERTICAL, copied, mirror_kernels, mirrored, reordered
from kdbench.conformance.exam import Exam
from kdbench.distill import Captures, Method, Step
from kdbench.distill.randomness import generator, seeded
from kdbench.plugins import make_method
from kdbench.selectors import canonical

ITERATIONS = 4
MOMENTS = (0, ITERATIONS // 2)
"""Iterations that are checked; there are several since a method may hold a term at 0 at first."""
ORDERS = ((1, 0, 2), (0, 2, 1))
"""Two swaps; a method that confuses any two images changes its terms in at least one of them."""


@dataclass(frozen=True)
class Form:
    """A transformed form of a batch.

    Attributes:
        name: Description in messages.
        change: Function that transforms a step.
        axis: Axis along which the method's own kernels are mirrored; None: they are not.
    """

    name: str
    change: Callable[[Step], Step]
    axis: int | None = None


AS_IT_IS = Form("it is as it was", lambda step: step)
SWAPPED = [
    Form(f"images {one} and {two} of the batch change places", partial(reordered, order=order))
    for order, one, two in ((ORDERS[0], 0, 1), (ORDERS[1], 1, 2))
]
MIRRORED = [
    Form(f"the batch is mirrored {how}", partial(mirrored, axis=axis), axis)
    for how, axis in (("left to right", HORIZONTAL), ("top to bottom", VERTICAL))
]


@dataclass(frozen=True)
class Case:
    """A variant of a method in a family.

    Attributes:
        exam: Exam of the method.
        family: Family of the models.
        options: Options of the variant.
    """

    exam: Exam
    family: str
    options: Options

    @property
    def where(self) -> str:
        """Beginning of messages."""
        return f"{canonical(self.exam.card, self.options)} in {self.family} models"

    @property
    def package(self) -> str:
        """Top-level package of the method's code."""
        return self.exam.target.package

    def made(self) -> Method[Any]:
        """Return a new method, not built."""
        return make_method(self.exam.card, self.options)

    def built(self, seed: int = 0) -> Method[Any]:
        """Return a new method, built with a temporary random state."""
        method = self.made()
        with seeded(seed, "method"):
            method.build(self.exam.bench.recorded(self.family).shapes)
        if (adversary := method.adversary()) is not None:
            adversary.requires_grad_(False)
        return method.train()

    def step(self, iteration: int = 0, draw: int = 0, form: Form = AS_IT_IS) -> Step:
        """Return the method's step on the recorded batch; its tensors are copies, so the method may modify them.

        Args:
            iteration: Iteration of the training.
            draw: Seed of the method's random numbers.
            form: Form of the batch.
        """
        from kdbench.openmmlab.checks.preflight import check_family

        names, count = check_family(self.made(), self.family), self.options.ensemble - 1
        seen = self.exam.bench.recorded(self.family).in_form(form.name, form.change)
        step = replace(
            seen,
            student=_some(seen.student, names),
            teacher=_some(seen.teacher, names),
            others=tuple(_some(other, names) for other in (seen.others * count)[:count]),
            iteration=iteration,
            iterations=ITERATIONS,
            generator=generator("cpu", draw, "method"),
        )
        return copied(step)

    def terms(self, iteration: int = 0, draw: int = 0, form: Form = AS_IT_IS) -> dict[str, float]:
        """Return the terms on the recorded batch; for a mirrored form the method's kernels are mirrored too."""
        method = self.built()
        if form.axis is not None:
            mirror_kernels(method, form.axis)
        with seeded(draw, "method"):
            terms = method.losses(self.step(iteration, draw, form))
        return {name: float(term.detach()) for name, term in terms.items()}


def _some(captures: Captures, names: frozenset[str]) -> Captures:
    return {name: value for name, value in captures.items() if name in names}


def cases(exam: Exam) -> Iterator[Case]:
    """Yield every variant in every family that it supports."""
    for options in exam.variants:
        for family in exam.families(options):
            yield Case(exam, family, options)
