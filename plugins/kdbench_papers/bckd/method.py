"""Distillation of a dense head's classes and boxes, at all positions on which it is trained."""

from __future__ import annotations

import torch
from torch import Tensor

from kdbench.api import Assignment, Captures, Method, Step, UserError, at_least_float32
from kdbench_papers.bckd.card import BckdOptions
from kdbench_papers.bckd.losses import box_consistency_loss, consistency_loss


class Consistent(Method[BckdOptions]):
    """Distils classes independently of each other, as the detector predicts them, and boxes by their overlap."""

    def needs(self) -> tuple[str, ...]:
        """Return the head's predictions, and its boxes if the variant uses them."""
        return ("head_targets",) if self.options.variant == "class" else ("head_targets", "head_boxes")

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Return the variant's terms."""
        student, teacher = independent(step)
        options, terms = self.options, {}
        if options.variant != "box":
            loss = consistency_loss(student.logits, teacher.logits, student.weights, student.normaliser)
            terms["class"] = options.class_weight * loss
        if options.variant != "class":
            ours, theirs = (boxes_at(side, student.rows) for side in (step.student, step.teacher))
            loss = box_consistency_loss(ours, theirs, disagreement(student, teacher), student.normaliser)
            terms["box"] = options.box_weight * loss
        return terms


def independent(step: Step) -> tuple[Assignment, Assignment]:
    """Return the student's and the teacher's assignment, after checking that classes are independent.

    Raises:
        UserError: If the classes exclude each other (softmax).
    """
    student, teacher = step.student["head_targets"], step.teacher["head_targets"]
    if student.activation != "sigmoid":
        raise UserError(
            "these heads' classes exclude each other (softmax): choose a pair with sigmoid heads."
        )
    return student, teacher


def boxes_at(captures: Captures, rows: Tensor) -> Tensor:
    """Return the decoded boxes (N, 4) at the given rows."""
    return torch.cat([level.flatten(0, 1) for level in captures["head_boxes"]])[rows]


def disagreement(student: Assignment, teacher: Assignment) -> Tensor:
    """Return the largest difference of the class probabilities at each position, (N,), without gradient."""
    ours, theirs = (at_least_float32(side.logits.detach()).sigmoid() for side in (student, teacher))
    return (theirs - ours).abs().amax(dim=1)
