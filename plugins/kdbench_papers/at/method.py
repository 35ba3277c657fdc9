"""Attention transfer on maps of any channels."""

from __future__ import annotations

import torch
from torch import Tensor

from kdbench.api import Captures, Method, Shapes, Step, masked, resized
from kdbench_papers.at.card import AtOptions
from kdbench_papers.at.losses import attention_loss, attention_map


class AttentionTransfer(Method[AtOptions]):
    """The student's maps have their energy where the teacher's do."""

    @property
    def capture(self) -> str:
        """The capture that the variant compares."""
        return "pixel_logits" if self.options.variant == "logits" else self.options.variant

    def needs(self) -> tuple[str, ...]:
        """Return the maps that are compared."""
        return (self.capture,)

    def build(self, shapes: Shapes) -> None:
        """Check that the models have the same levels."""
        shapes.levels(self.capture)

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Return the sum over the maps."""
        maps = self._maps(step.teacher)
        levels = zip(self._maps(step.student), maps, step.targets.valid(maps), strict=True)
        terms = [
            attention_loss(masked(resized(ours, theirs), cells), masked(theirs, cells))
            for ours, theirs, cells in levels
        ]
        return {"attention": self.options.weight * torch.stack(terms).sum()}

    def attention(self, step: Step) -> dict[str, Tensor]:
        """Return both models' attention to the finest map, its largest value drawn as 1."""
        shown = {}
        for name, captures in (("student", step.student), ("teacher", step.teacher)):
            finest = self._maps(captures)[0].detach()
            energy = attention_map(finest)
            scaled = energy / energy.amax(dim=1, keepdim=True).clamp(min=1e-12)
            shown[name] = scaled.view(len(finest), *finest.shape[-2:])
        return shown

    def _maps(self, captures: Captures) -> tuple[Tensor, ...]:
        value = captures[self.capture]
        return (value,) if isinstance(value, Tensor) else value
