"""Soft targets on the class logits of any head."""

from __future__ import annotations

import math

from torch import Tensor

from kdbench.api import Logits, Method, Shapes, Step, UserError, resized
from kdbench_papers.hinton.card import HintonOptions
from kdbench_papers.hinton.losses import ensemble_logits, logits_loss, matching_loss
from kdbench_papers.lskd.losses import standardised_logits


def check_logits(shapes: Shapes, capture: str = "logits") -> None:
    """Refuse a pair whose class logits cannot be compared.

    Raises:
        UserError: If levels, classes, anchors or (in detection) map sizes differ.
    """
    for student, teacher in shapes.levels(capture):
        # Rows (R, C) and resizable maps (B, C, H, W) only need the same classes; (B, C, A, H, W) needs the same
        # sizes.
        end = None if len(student) == 5 else 2
        if len(student) != len(teacher) or student[1:end] != teacher[1:end]:
            raise UserError(
                f"the student's logits {student} and the teacher's {teacher} do not line up: "
                "choose a pair with the same kind of head, classes, anchors and strides."
            )


def valid_logits(step: Step) -> list[Tensor] | list[None] | None:
    """Return which cells of the teacher's logits cover an image; None if the logits are not maps."""
    values = step.teacher["logits"].values
    return step.targets.valid(values) if values[0].dim() >= 4 else None


def check_standardised(shapes: Shapes) -> None:
    """Refuse models whose logits cannot be standardised.

    Raises:
        UserError: If their classes are independent, or there is only one class.
    """
    if shapes.family in ("dense", "query") or shapes.student["logits"][0][1] < 2:
        raise UserError(
            "standardise=true is for the logits of at least two classes that exclude each other: choose a "
            "two-stage or a segmentation pair, or leave it out."
        )


def standardised(student: Logits, teacher: Logits) -> tuple[Logits, Logits]:
    """Standardise the logits of softmax heads, after resizing the student's maps to the teacher's size."""
    (ours,), (theirs,) = student.values, teacher.values
    ours = resized(ours, theirs) if ours.dim() == 4 else ours
    return Logits((standardised_logits(ours),), "softmax"), Logits((standardised_logits(theirs),), "softmax")


class Hinton(Method[HintonOptions]):
    """Soft targets on the class logits."""

    captures = ("logits",)

    def build(self, shapes: Shapes) -> None:
        """Check that the logits can be compared and, if requested, standardised."""
        check_logits(shapes)
        if self.options.standardise:
            check_standardised(shapes)

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Return the term of the soft targets."""
        options, valid, student = self.options, valid_logits(step), step.student["logits"]
        temperature = math.inf if options.matching else options.temperature
        teachers = [captures["logits"] for captures in (step.teacher, *step.others)]
        teacher = ensemble_logits(teachers, temperature)
        if options.standardise:
            student, teacher = standardised(student, teacher)
        if options.matching:
            return {"soft": options.weight * matching_loss(student, teacher, valid)}
        return {
            "soft": options.weight * logits_loss(student, teacher, temperature, options.normaliser, valid)
        }

    def task_weight(self, step: Step) -> float:
        """Return the weight of the hard targets."""
        return self.options.hard
