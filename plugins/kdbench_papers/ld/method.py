"""Localization distillation for heads that predict distributions of a box's sides."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from kdbench.api import Assignment, Method, Shapes, Step, UserError, rows_of
from kdbench_papers.hinton.losses import softmax_divergence
from kdbench_papers.ld.card import LdOptions
from kdbench_papers.ld.losses import localization_loss, valuable_region


class LocalizationDistillation(Method[LdOptions]):
    """Distils the teacher's distributions of a box's sides, and its classes."""

    captures = ("head", "head_targets", "anchors")

    def build(self, shapes: Shapes) -> None:
        """Check that both heads predict distributions with the same bins."""
        self.bins = check_bins(shapes)
        self.classes = shapes.classes

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Return the variant's terms."""
        student, teacher = (side["head_targets"] for side in (step.student, step.teacher))
        found = {}
        if "kd" in self.options.terms:
            found["kd"] = self.options.kd_weight / self.classes * self._classes(student, teacher, step)
        if "main" in self.options.terms:
            sure = student.logits.detach().float().sigmoid().amax(dim=1)[student.positive]
            found["main"] = self.options.main_weight * self._boxes(step, student.rows[student.positive], sure)
        if "vlr" in self.options.terms:
            values = torch.cat([level.flatten() for level in self._region(step)])
            rows = values.nonzero().squeeze(1)
            found["vlr"] = self.options.vlr_weight / 4 * self._boxes(step, rows, values[rows])
        return found

    def attention(self, step: Step) -> dict[str, Tensor]:
        """Return the weights of the valuable region on each level."""
        if "vlr" not in self.options.terms:
            return {}
        grids = [level.shape[-2:] for level in step.student["head"].boxes]
        levels = zip(self._region(step), grids, strict=True)
        return {
            f"level {number}": values.view(len(values), *grid) for number, (values, grid) in enumerate(levels)
        }

    def _classes(self, student: Assignment, teacher: Assignment, step: Step) -> Tensor:
        """Return the sum over levels of the mean over their positives."""
        ours, theirs = (side.logits[student.positive] for side in (student, teacher))
        tau = self.options.kd_temperature
        sizes = [len(level) * level[0, 0].numel() for level in step.student["head"].logits]
        ends = torch.tensor(sizes).cumsum(0).to(student.rows.device)
        level = torch.bucketize(student.rows[student.positive], ends, right=True)
        counts = functional.one_hot(level, len(sizes)).sum(dim=0)
        return (tau**2 * softmax_divergence(ours, theirs, tau) / counts[level]).sum()

    def _boxes(self, step: Step, rows: Tensor, weights: Tensor) -> Tensor:
        """Return the weighted divergence of the bins at the given rows, averaged over the bins."""
        ours, theirs = (
            rows_of(side["head"].boxes, 4 * self.bins)[rows] for side in (step.student, step.teacher)
        )
        return localization_loss(ours, theirs, weights, self.options.temperature) / self.bins

    def _region(self, step: Step) -> list[Tensor]:
        """Return the region's weights, (B, cells) per level."""
        anchors = step.student["anchors"]
        counts = [len(level) for level in anchors]
        images = [valuable_region(torch.cat(anchors), boxes, counts) for boxes in step.targets.boxes]
        return list(torch.split(torch.stack(images), counts, dim=1))


def check_bins(shapes: Shapes) -> int:
    """Return the number of bins of both heads' distributions.

    Raises:
        UserError: If a head predicts no distributions, or the numbers differ.
    """
    bins = [bins_of(side["head"], shapes.classes) for side in (shapes.student, shapes.teacher)]
    if bins[0] != bins[1] or bins[0] < 2:
        raise UserError(
            f"ld compares distributions of a box's sides, and these heads give {bins[0]} and {bins[1]} numbers "
            "for a side: choose a pair of GFL models with the same reg_max."
        )
    return bins[0]


def bins_of(head: tuple[tuple[int, ...], ...], classes: int) -> int:
    """Return how many numbers a dense head predicts for each side of a box.

    Args:
        head: Probed shapes of its predictions: those of the classes, then those of the boxes.
        classes: Number of classes.
    """
    logits, boxes = head[0], head[-1]
    return boxes[1] // (4 * max(1, logits[1] // classes))
