"""Soft labels and bounded regression in every head, and hints on the neck's maps."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kdbench.api import Assignment, Method, Shapes, Step, adapter, reduced
from kdbench_papers.chen.card import ChenOptions
from kdbench_papers.chen.losses import (
    hint_loss,
    regression_l2,
    teacher_bounded_l2,
    weighted_sigmoid_cross_entropy,
    weighted_soft_cross_entropy,
)


class Chen(Method[ChenOptions]):
    """Soft labels, bounded regression and hints, in the RPN and the RoI head or in a dense head."""

    def needs(self) -> tuple[str, ...]:
        """Return the neck for hints, and the heads' assignments for the other parts."""
        hints = self.options.has("hints", "hints-a")
        heads = self.options.has("l2", "l2-b", "cls", "cls-w")
        return ("neck",) * hints + ("assignments",) * heads

    def build(self, shapes: Shapes) -> None:
        """Build an adaptation for each hinted level."""
        if self.options.has("hints", "hints-a"):
            always, pairs = self.options.has("hints-a"), shapes.levels("neck")
            self.adaptations = nn.ModuleList(adapter(*pair, always=always) for pair in pairs)

    def classification_weight(self, step: Step) -> float:
        """Return mu if the variant has soft labels, else 1."""
        return self.options.mu if self.options.has("cls", "cls-w") else 1.0

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Return the terms of each head, and the hints.

        A part of weight 0 is left out, since adding its zero gradient would change the summation order of the
        task's.
        """
        options = self.options
        terms: dict[str, Tensor] = {}
        for name, student in step.student.get("assignments", {}).items():
            teacher = step.teacher["assignments"][name]
            if options.has("cls", "cls-w") and options.mu < 1:
                terms[f"{name}_soft"] = (1 - options.mu) * self._soft(name, student, teacher)
            if options.has("l2", "l2-b") and options.nu > 0:
                terms[f"{name}_regression"] = options.nu * self._regression(name, student, teacher)
        if options.has("hints", "hints-a") and options.gamma > 0:
            terms["hint"] = options.gamma * self._hint(step)
        return terms

    def _soft(self, name: str, student: Assignment, teacher: Assignment) -> Tensor:
        """Return L_soft of one head."""
        weight = self.options.background_weight if self.options.has("cls-w") else 1.0
        ours, theirs = student.logits, teacher.logits
        if student.activation == "softmax":
            return weighted_soft_cross_entropy(ours, theirs, -1, weight)
        if name == "rpn":
            return weighted_soft_cross_entropy(_with_background(ours), _with_background(theirs), -1, weight)
        return weighted_sigmoid_cross_entropy(ours, theirs, weight)

    def _regression(self, name: str, student: Assignment, teacher: Assignment) -> Tensor:
        """Return L_b (or its unbounded version) of one head, with the normaliser of the task's regression loss."""
        if self.options.has("l2"):
            mean = regression_l2(student.boxes, teacher.boxes)
        else:
            mean = teacher_bounded_l2(student.boxes, teacher.boxes, student.targets, self.options.margin)
        sampled = student.boxes if name == "head" else student.logits
        return mean * (len(student.boxes) / reduced(mean.new_full((), float(len(sampled)))))

    def _hint(self, step: Step) -> Tensor:
        """Return the mean of the levels' hint losses."""
        maps = step.teacher["neck"]
        levels = zip(self.adaptations, step.student["neck"], maps, step.targets.valid(maps), strict=True)
        hints = [
            hint_loss(adapt(ours, theirs.shape[-2:]), theirs, cells, self.options.hint_norm)
            for adapt, ours, theirs, cells in levels
        ]
        return torch.stack(hints).mean()


def _with_background(logits: Tensor) -> Tensor:
    """Convert sigmoid logits (N, 1) to two classes (N, 2), background last: softmax(z, 0) is sigmoid(z)."""
    return torch.cat([logits, torch.zeros_like(logits)], dim=1)
