"""Distillation of the student's hidden maps through the rest of the teacher's head."""

from __future__ import annotations

from torch import Tensor, nn

from kdbench.api import Method, Predictions, Shape, Shapes, Step, UserError, adapter, rows_of
from kdbench_papers.bckd.losses import box_consistency_loss, consistency_loss
from kdbench_papers.bckd.method import boxes_at, independent
from kdbench_papers.crosskd.card import CrosskdOptions
from kdbench_papers.crosskd.losses import scaled_like
from kdbench_papers.ld.losses import localization_loss
from kdbench_papers.ld.method import bins_of

BRANCHES = ("class", "box")
"""Term of each branch of a head."""
DISTRIBUTION_WEIGHT = 4.0
"""Weight of boxes that are distributions, from the released code."""


class CrossHead(Method[CrosskdOptions]):
    """Applies the teacher's head to the student's features, and compares its predictions with the teacher's."""

    def needs(self) -> tuple[str, ...]:
        """Return the head's predictions, and its hidden maps for the cross-head predictions."""
        direct = self.options.variant == "direct"
        return ("head", "head_targets", "head_boxes") + (() if direct else ("head_hidden",))

    def build(self, shapes: Shapes) -> None:
        """Choose the convolution after which the teacher's head continues, and make an adapter for each branch."""
        self.bins = bins_of(shapes.teacher["head"], shapes.classes)
        default = DISTRIBUTION_WEIGHT if self.bins > 1 else 1.0
        self.box_weight = default if self.options.box_weight is None else self.options.box_weight
        if self.options.variant == "direct":
            _check_same_bins(self.bins, bins_of(shapes.student["head"], shapes.classes))
            return
        levels = len(shapes.teacher["head"]) // 2
        ours, theirs = (_branches(side["head_hidden"], levels) for side in (shapes.student, shapes.teacher))
        self.at = self.options.at or max(1, 3 * len(theirs) // 4)
        if self.at > min(len(ours), len(theirs)):
            raise UserError(
                f"crosskd[at={self.at}] is behind the heads' last convolution: the student has {len(ours)} in a "
                f"branch, the teacher {len(theirs)}."
            )
        pairs = zip(BRANCHES, ours[self.at - 1], theirs[self.at - 1], strict=True)
        self.adapters = nn.ModuleDict(
            {name: adapter(own, other) for name, own, other in pairs if name in self.options.terms}
        )

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Return the variant's terms."""
        student, teacher = independent(step)
        seen = step.student["head"] if self.options.variant == "direct" else self._crossed(step)
        sure = teacher.logits.detach().float().sigmoid().amax(dim=1)
        terms = {}
        if "class" in self.options.terms:
            logits = rows_of(seen.logits, teacher.logits.shape[1])[student.rows]
            loss = consistency_loss(logits, teacher.logits, student.weights, student.normaliser)
            terms["class"] = self.options.class_weight * loss
        if "box" in self.options.terms:
            distance = self._distributions if self.bins > 1 else self._boxes
            terms["box"] = self.box_weight * distance(step, seen, sure)
        return terms

    def _crossed(self, step: Step) -> Predictions:
        """Return the predictions of the teacher's head from the student's hidden maps."""
        levels = zip(
            step.student["head_hidden"][self.at - 1], step.teacher["head_hidden"][self.at - 1], strict=True
        )
        hidden = [
            [self._scaled(*branch) for branch in zip(BRANCHES, ours, theirs, strict=True)]
            for ours, theirs in levels
        ]
        return step.teacher_tail(hidden, after=self.at)

    def _scaled(self, branch: str, ours: Tensor, theirs: Tensor) -> Tensor:
        """Return the student's map with the teacher's moments, or the teacher's map if the branch has no term."""
        if branch not in self.adapters:
            return theirs
        return scaled_like(self.adapters[branch](ours, theirs.shape[-2:]), theirs)

    def _distributions(self, step: Step, seen: Predictions, weights: Tensor) -> Tensor:
        """Return the weighted mean of the divergence of the bins."""
        rows = step.student["head_targets"].rows
        ours, theirs = (rows_of(side.boxes, 4 * self.bins)[rows] for side in (seen, step.teacher["head"]))
        return localization_loss(ours, theirs, weights, 1.0) / weights.sum().clamp(min=1e-6)

    def _boxes(self, step: Step, seen: Predictions, weights: Tensor) -> Tensor:
        """Return the weighted sum of 1 - GIoU, divided by the number of positives."""
        where = step.student["head_targets"]
        own = step.student if self.options.variant == "direct" else {"head_boxes": step.teacher_boxes(seen)}
        ours, theirs = boxes_at(own, where.rows), boxes_at(step.teacher, where.rows)
        return box_consistency_loss(ours, theirs, weights, where.normaliser)


def _check_same_bins(teacher: int, student: int) -> None:
    if teacher != student:
        raise UserError(
            f"the student's head gives {student} numbers for a side of a box, the teacher's {teacher}: choose a "
            "pair with the same reg_max, or another variant of crosskd than direct."
        )


def _branches(hidden: tuple[Shape, ...], levels: int) -> list[tuple[Shape, Shape]]:
    """Return the shapes of both branches' finest map at each convolution.

    Args:
        hidden: Probed shapes of ``head_hidden``: by convolution, level and branch.
        levels: Number of levels.
    """
    return [(hidden[first], hidden[first + 1]) for first in range(0, len(hidden), 2 * levels)]
