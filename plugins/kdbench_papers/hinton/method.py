"""Soft targets in any head."""

from __future__ import annotations

from torch import Tensor

from kdbench.api import Method, Shapes, Step, UserError
from kdbench_papers.hinton.card import HintonOptions
from kdbench_papers.hinton.losses import ensemble_logits, logits_loss


def check_logits(shapes: Shapes) -> None:
    """Refuse a pair whose class logits cannot be compared.

    Raises:
        UserError: If levels, classes, anchors or (in detection) map sizes differ.
    """
    for student, teacher in shapes.levels("logits"):
        # Rows (R, C) and resizable maps (B, C, H, W) need the classes alone, (B, C, A, H, W) every size.
        end = None if len(student) == 5 else 2
        if len(student) != len(teacher) or student[1:end] != teacher[1:end]:
            raise UserError(
                f"the student's logits {student} and the teacher's {teacher} do not line up: "
                "choose a pair with the same kind of head, classes, anchors and strides."
            )


class Hinton(Method[HintonOptions]):
    """Soft targets on the class logits."""

    captures = ("logits",)

    def build(self, shapes: Shapes) -> None:
        """Check that the logits line up."""
        check_logits(shapes)

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Return the soft term."""
        options = self.options
        teachers = [captures["logits"] for captures in (step.teacher, *step.others)]
        teacher = ensemble_logits(teachers, options.temperature)
        loss = logits_loss(step.student["logits"], teacher, options.temperature, options.normaliser)
        return {"soft": options.weight * loss}

    def task_weight(self, step: Step) -> float:
        """Return the weight of the hard targets."""
        return self.options.hard
