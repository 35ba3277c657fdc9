"""A recorded batch of three images, with every capture of a family."""

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
"""Number of images; with two, a swap would not reveal a method that uses the next image's boxes."""
SCALE = (128, 64)
"""Width and height, such that each level has an even number of cells and is not square."""
TEACHERS = 2
BLOCK = 8
"""Side of a cell of the segmenters' maps, in pixels."""


@dataclass(frozen=True)
class Recorded:
    """A recorded step of a family's small models.

    Attributes:
        step: The step, with every capture of the family and those of a second teacher.
        shapes: Shapes of all captures.
        student: The student's parameters.
        forms: Name of a transformed form of the batch -> step in this form (a cache).
    """

    step: Step
    shapes: Shapes
    student: frozenset[Tensor]
    forms: dict[str, Step] = field(default_factory=dict)

    def in_form(self, name: str, change: Callable[[Step], Step]) -> Step:
        """Return the step in another form, which is cached by name."""
        if name not in self.forms:
            self.forms[name] = change(self.step)
        return self.forms[name]


class _Recorder(Method[Options]):
    """A method that stores the step."""

    step: Step

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Store the step, and return no terms."""
        self.step = step
        return {}


def _with_blocks(step: Step) -> Step:
    """Return a step whose masks consist of uniform blocks, so that any way to downsample them gives the same."""
    if step.targets.masks is None:
        return step
    blocks = step.targets.masks[:, ::BLOCK, ::BLOCK]
    masks = blocks.repeat_interleave(BLOCK, 1).repeat_interleave(BLOCK, 2)
    return replace(step, targets=replace(step.targets, masks=masks))


def record(bench: Bench, family: str) -> Recorded:
    """Run three of the generated scenes through a family's student and teachers, as in a training."""
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
