"""Correlation of the class probabilities."""

from __future__ import annotations

import torch
from torch import Tensor

from kdbench.api import Method, Shapes, Step, resized
from kdbench_papers.dist.card import DistOptions
from kdbench_papers.dist.losses import dist_loss
from kdbench_papers.hinton.method import check_logits


class Dist(Method[DistOptions]):
    """Makes the student's probabilities correlate with the teacher's."""

    captures = ("softmax_logits",)

    def needs(self) -> tuple[str, ...]:
        """Return the logits, and those of the auxiliary heads if they have a weight."""
        return (*self.captures, *("auxiliary_logits",) * bool(self.options.auxiliary_weight))

    def build(self, shapes: Shapes) -> None:
        """Check that the logits can be compared."""
        for capture in self.needs():
            check_logits(shapes, capture)

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Return the term of the logits, and that of the auxiliary heads."""
        (student,), (teacher,) = (side["softmax_logits"].values for side in (step.student, step.teacher))
        terms = {"correlation": self.options.weight * self._correlation(student, teacher, step)}
        if self.options.auxiliary_weight:
            heads = zip(*(side["auxiliary_logits"] for side in (step.student, step.teacher)), strict=True)
            total = torch.stack([self._correlation(ours, theirs, step) for ours, theirs in heads]).sum()
            terms["auxiliary"] = self.options.auxiliary_weight * total
        return terms

    def _correlation(self, student: Tensor, teacher: Tensor, step: Step) -> Tensor:
        """Return the loss of one head."""
        if teacher.dim() == 4:
            student = resized(student, teacher)
            (cells,) = step.targets.valid([teacher])
            if cells is not None:
                student, teacher = (maps.movedim(1, -1)[cells] for maps in (student, teacher))
        return dist_loss(student, teacher, *self.options.shares, self.options.temperature)
