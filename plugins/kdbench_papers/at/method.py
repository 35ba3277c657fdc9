"""Attention transfer on maps with any number of channels."""

from __future__ import annotations

import torch
from torch import Tensor

from kdbench.api import Captures, Method, Shapes, Step, masked, resized
from kdbench_papers.at.card import AtOptions
from kdbench_papers.at.losses import attention_loss, attention_map


class AttentionTransfer(Method[AtOptions]):
    """Makes the energy of the student's maps follow the teacher's."""

    @property
    def capture(self) -> str:
        """Capture that the variant compares."""
        return "pixel_logits" if self.options.variant == "logits" else self.options.variant

    def needs(self) -> tuple[str, ...]:
        """Return the capture of the compared maps."""
        return (self.capture,)

    def build(self, shapes: Shapes) -> None:
        """Check that the models have the same levels."""
        shapes.levels(self.capture)

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Return the attention loss, summed over the maps."""
        maps = self._maps(step.teacher)
        levels = zip(self._maps(step.student), maps, step.targets.valid(maps), strict=True)
        terms = [
            attention_loss(masked(resized(ours, theirs), cells), masked(theirs, cells))
            for ours, theirs, cells in levels
        ]
        return {"attention": self.options.weight * torch.stack(terms).sum()}

    def attention(self, step: Step) -> dict[str, Tensor]:
        """Return both models' attention on the finest map, scaled to a maximum of 1."""
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
