"""Decoupled soft targets of regions or pixels."""

from __future__ import annotations

from torch import Tensor

from kdbench.api import Method, Shapes, Step, UserError, resized, resized_labels
from kdbench_papers.dkd.card import DkdOptions
from kdbench_papers.dkd.losses import decoupled_loss
from kdbench_papers.hinton.method import check_logits
from kdbench_papers.lskd.losses import standardised_logits


class Decoupled(Method[DkdOptions]):
    """Distils the label's probability and the distribution over the other classes separately."""

    captures = ("softmax_logits",)

    def wants(self) -> tuple[str, ...]:
        """Return the capture with the labels of regions."""
        return ("roi_targets",)

    def build(self, shapes: Shapes) -> None:
        """Check that the logits can be compared and have at least two classes."""
        check_logits(shapes, "softmax_logits")
        if shapes.student["softmax_logits"][0][1] < 2:
            raise UserError("dkd needs at least two classes: there is nothing beside the label.")

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Return the variant's parts as one term."""
        rows, options = labelled(step), self.options
        student, teacher, labels = rows
        if options.standardise:
            student, teacher = standardised_logits(student), standardised_logits(teacher)
        return {"decoupled": decoupled_loss(student, teacher, labels, *options.shares, options.temperature)}


def labelled(step: Step) -> tuple[Tensor, Tensor, Tensor]:
    """Return student's and teacher's logits (N, C) at every position that has a label, and the labels (N,)."""
    (student,), (teacher,) = (side["softmax_logits"].values for side in (step.student, step.teacher))
    if "roi_targets" in step.student:
        return student, teacher, step.student["roi_targets"].labels
    assert step.targets.masks is not None
    labels = resized_labels(step.targets.masks, teacher)
    judged = labels != step.targets.ignore_index
    ours, theirs = (maps.movedim(1, -1)[judged] for maps in (resized(student, teacher), teacher))
    return ours, theirs, labels[judged]
