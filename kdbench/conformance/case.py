"""A variant of a method on the recorded batch of a family, in one form of this batch or another."""

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
"""Iterations that are looked at: a method may hold a term back."""
ORDERS = ((1, 0, 2), (0, 2, 1))
"""Two exchanges: whatever takes one image for another is changed by one of them."""


@dataclass(frozen=True)
class Form:
    """Another form of a batch.

    Attributes:
        name: What is said of it in a message.
        change: Gives it.
        axis: Along which the method's own kernels are mirrored.
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
        exam: The method.
        family: Of the models.
        options: Of the variant.
    """

    exam: Exam
    family: str
    options: Options

    @property
    def where(self) -> str:
        """How a message begins."""
        return f"{canonical(self.exam.card, self.options)} in {self.family} models"

    @property
    def package(self) -> str:
        """Top-level package of the method's code."""
        return self.exam.target.package

    def made(self) -> Method[Any]:
        """Return a new method that is not built."""
        return make_method(self.exam.card, self.options)

    def built(self, seed: int = 0) -> Method[Any]:
        """Return a new method, built under a random state that is put back."""
        method = self.made()
        with seeded(seed, "method"):
            method.build(self.exam.bench.recorded(self.family).shapes)
        if (adversary := method.adversary()) is not None:
            adversary.requires_grad_(False)
        return method.train()

    def step(self, iteration: int = 0, draw: int = 0, form: Form = AS_IT_IS) -> Step:
        """Return what the method sees of the recorded batch: copies, which it may spoil.

        Args:
            iteration: Of the training.
            draw: Seed of its random numbers.
            form: Of the batch.
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
        """Return the terms on the recorded batch; with a mirrored one the method's kernels are mirrored too."""
        method = self.built()
        if form.axis is not None:
            mirror_kernels(method, form.axis)
        with seeded(draw, "method"):
            terms = method.losses(self.step(iteration, draw, form))
        return {name: float(term.detach()) for name, term in terms.items()}


def _some(captures: Captures, names: frozenset[str]) -> Captures:
    return {name: value for name, value in captures.items() if name in names}


def cases(exam: Exam) -> Iterator[Case]:
    """Every variant in every family that it claims."""
    for options in exam.variants:
        for family in exam.families(options):
            yield Case(exam, family, options)
