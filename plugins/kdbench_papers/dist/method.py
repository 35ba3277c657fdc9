"""Correlation of the class probabilities."""

from __future__ import annotations

from torch import Tensor

from kdbench.api import Method, Shapes, Step, resized
from kdbench_papers.dist.card import DistOptions
from kdbench_papers.dist.losses import dist_loss
from kdbench_papers.hinton.method import check_logits


class Dist(Method[DistOptions]):
    """The student's probabilities rise and fall with the teacher's."""

    captures = ("softmax_logits",)

    def build(self, shapes: Shapes) -> None:
        """Check that the logits line up."""
        check_logits(shapes, "softmax_logits")

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Return the correlations of the variant."""
        (student,), (teacher,) = (side["softmax_logits"].values for side in (step.student, step.teacher))
        if teacher.dim() == 4:
            student = resized(student, teacher)
            (cells,) = step.targets.valid([teacher])
            if cells is not None:
                student, teacher = (maps.movedim(1, -1)[cells] for maps in (student, teacher))
        beta, gamma = self.options.shares
        loss = dist_loss(student, teacher, beta, gamma, self.options.temperature)
        return {"correlation": self.options.weight * loss}
