"""Hints on feature maps, and soft targets."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kdbench.api import Method, Shapes, Step, adapter
from kdbench_papers.fitnets.card import FitnetsOptions
from kdbench_papers.fitnets.losses import hint_loss
from kdbench_papers.hinton.losses import logits_loss
from kdbench_papers.hinton.method import check_logits, valid_logits


class Fitnets(Method[FitnetsOptions]):
    """Hints on every level of the neck or the backbone, or on the pooled RoIs."""

    def needs(self) -> tuple[str, ...]:
        """Return the maps for the hints, and the logits if the soft targets have a weight."""
        return (self.options.hint, "logits") if self.options.start else (self.options.hint,)

    def build(self, shapes: Shapes) -> None:
        """Build a regressor for each level."""
        pairs = shapes.levels(self.options.hint)
        self.regressors = nn.ModuleList(adapter(student, teacher, always=True) for student, teacher in pairs)
        if self.options.start:
            check_logits(shapes)

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Return hints and soft targets, with the weights of this iteration."""
        hint_weight, soft_weight = self.weights(step)
        terms = {"hint": hint_weight * self._hint(step)}
        if self.options.start:
            tau = self.options.temperature
            soft = logits_loss(step.student["logits"], step.teacher["logits"], tau, valid=valid_logits(step))
            terms["soft"] = soft_weight / tau**2 * soft
        return terms

    def weights(self, step: Step) -> tuple[float, float]:
        """Return the weights of hints and soft targets in this iteration."""
        options = self.options
        if self._hints_alone(step):
            return options.hint_weight, 0.0
        begin = options.stage if options.variant == "two-stage" else 0.0
        done = (step.progress - begin) / (1 - begin)
        soft = options.start * (1 - 0.75 * done)
        return (0.0 if options.variant == "two-stage" else options.hint_weight), soft

    def task_weight(self, step: Step) -> float:
        """Return 0 in a stage with hints only, else 1."""
        return 0.0 if self._hints_alone(step) else 1.0

    def _hints_alone(self, step: Step) -> bool:
        return self.options.variant == "two-stage" and step.progress < self.options.stage

    def _hint(self, step: Step) -> Tensor:
        """Return the mean of the levels' hint losses."""
        name = self.options.hint
        student, teacher = maps(step.student[name]), maps(step.teacher[name])
        valid = [None] if name == "roi_features" else step.targets.valid(teacher)
        levels = zip(self.regressors, student, teacher, valid, strict=True)
        return torch.stack(
            [
                hint_loss(adapt(ours, theirs.shape[-2:]), theirs, cells)
                for adapt, ours, theirs, cells in levels
            ]
        ).mean()


def maps(capture: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return a capture's maps; pooled RoIs count as one map."""
    return (capture,) if isinstance(capture, Tensor) else capture
