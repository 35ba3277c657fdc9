"""Review of the neck's levels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kdbench.api import Method, Shapes, Step, adapter, masked, mean_square
from kdbench_papers.reviewkd.card import ReviewkdOptions
from kdbench_papers.reviewkd.losses import Fusion, hierarchical_loss


class Reviewkd(Method[ReviewkdOptions]):
    """Compares each level of the teacher with the student's levels from that one to the coarsest."""

    captures = ("neck",)

    def build(self, shapes: Shapes) -> None:
        """Make the fusion, or an adapter for each level."""
        pairs = shapes.levels("neck")
        if self.options.variant == "plain":
            self.adapters = nn.ModuleList(adapter(ours, theirs) for ours, theirs in pairs)
            return
        student, teacher = ([pair[side][1] for pair in pairs] for side in (0, 1))
        self.fusion = Fusion(student, teacher, middle=self.options.channels)

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Return the loss, summed over the levels."""
        loss = hierarchical_loss if self.options.variant == "review" else mean_square
        maps = step.teacher["neck"]
        levels = zip(self._adapted(step), maps, step.targets.valid(maps), strict=True)
        terms = [loss(masked(ours, cells), masked(theirs, cells)) for ours, theirs, cells in levels]
        return {"review": self.options.weight * torch.stack(terms).sum()}

    def _adapted(self, step: Step) -> list[Tensor]:
        """Return the student's maps, converted to the teacher's shapes."""
        seen = step.student["neck"]
        maps = [masked(level, cells) for level, cells in zip(seen, step.targets.valid(seen), strict=True)]
        sizes = [(theirs.shape[-2], theirs.shape[-1]) for theirs in step.teacher["neck"]]
        if self.options.variant != "plain":
            fused: list[Tensor] = self.fusion(maps, sizes)
            return fused
        return [adapt(ours, size) for adapt, ours, size in zip(self.adapters, maps, sizes, strict=True)]
