"""One batch of three images, as a method would see it with every capture that its family has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from torch import Tensor

from kdbench.cards import Options
from kdbench.distill import FAMILIES, Method, Shapes, Step
from kdbench.distill.captures import shapes_of, spreads_of

if TYPE_CHECKING:
    from kdbench.conformance.bench import Bench

IMAGES = 3
"""Fewer, and an exchange of two images would be undone by a method that takes the next image's boxes."""
SCALE = (128, 64)
"""Width and height: each level has an even number of cells, and is not square."""
TEACHERS = 2
BLOCK = 8
"""Side of a cell of the segmenters' maps, in pixels."""


@dataclass(frozen=True)
class Recorded:
    """What a step of a family's small models has.

    Attributes:
        step: With every capture of the family, and those of a second teacher.
        shapes: Of all captures.
        student: The student's parameters.
        forms: Name of another form of the batch -> the step, of those that were asked for.
    """

    step: Step
    shapes: Shapes
    student: frozenset[Tensor]
    forms: dict[str, Step] = field(default_factory=dict)

    def in_form(self, name: str, change: Callable[[Step], Step]) -> Step:
        """Return the step in another form, which is made once."""
        if name not in self.forms:
            self.forms[name] = change(self.step)
        return self.forms[name]


class _Recorder(Method[Options]):
    """Keeps the step."""

    step: Step

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Keep the step; no terms."""
        self.step = step
        return {}


def _with_blocks(step: Step) -> Step:
    """Return a step whose masks are made of blocks: however a cell is chosen from one, it is the same."""
    if step.targets.masks is None:
        return step
    blocks = step.targets.masks[:, ::BLOCK, ::BLOCK]
    masks = blocks.repeat_interleave(BLOCK, 1).repeat_interleave(BLOCK, 2)
    return replace(step, targets=replace(step.targets, masks=masks))


def record(bench: Bench, family: str) -> Recorded:
    """Take three of the drawn scenes through a family's student and teachers, as a training does."""
    from kdbench.openmmlab.captures.parts import family_of_model
    from kdbench.openmmlab.training.distiller import Distiller

    subject, names = bench.subject(family, scale=SCALE), FAMILIES[family]
    student, recorder = subject.build(), _Recorder(Options())
    teacher, *others = (bench.teacher(family, number, None) for number in range(TEACHERS))
    model = Distiller(student, recorder, teacher, seed=0, iterations=1, names=names, others=others).train()
    model.compute(*bench.batch(subject, IMAGES).batch(student))
    step = _with_blocks(recorder.step)
    shapes = Shapes(
        {name: shapes_of(value) for name, value in step.student.items()},
        {name: shapes_of(value) for name, value in step.teacher.items()},
        len(subject.dataset.classes),
        step.targets.image_shape,
        family_of_model(student),
        {name: spreads_of(value) for name, value in step.teacher.items()},
    )
    return Recorded(step, shapes, frozenset(student.parameters()))
