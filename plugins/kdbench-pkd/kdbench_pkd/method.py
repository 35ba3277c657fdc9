"""Correlation of the neck's maps."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kdbench.api import Method, Shapes, Step, adapter
from kdbench_pkd.card import ONE_STAGE_WEIGHT, WEIGHT, PkdOptions
from kdbench_pkd.losses import pearson_loss


class Pkd(Method[PkdOptions]):
    """Makes every channel of the student's neck correlate with the teacher's."""

    captures = ("neck",)

    def build(self, shapes: Shapes) -> None:
        """Build an adapter for each level; it does nothing if channels and sizes agree.

        It has no bias, since the standardisation removes constants.
        """
        pairs = shapes.levels("neck")
        default = ONE_STAGE_WEIGHT if shapes.family == "dense" else WEIGHT
        self.weight = default if self.options.weight is None else self.options.weight
        self.adapters = nn.ModuleList(adapter(ours, theirs, bias=False) for ours, theirs in pairs)

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Return the loss, summed over the levels."""
        maps = step.teacher["neck"]
        levels = zip(self.adapters, step.student["neck"], maps, step.targets.valid(maps), strict=True)
        terms = [
            pearson_loss(adapt(ours, theirs.shape[-2:]), theirs, cells)
            for adapt, ours, theirs, cells in levels
        ]
        return {"correlation": self.weight * torch.stack(terms).sum()}

    def notes(self) -> list[str]:
        """Return the descriptions of the adapters, and the weight."""
        return [*super().notes(), f"each level weighs {self.weight:g}"]
