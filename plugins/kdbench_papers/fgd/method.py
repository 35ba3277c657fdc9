"""Focal and global distillation of the neck's maps."""

from __future__ import annotations

import math
from collections import defaultdict

import torch
from torch import Tensor, nn

from kdbench.api import Method, Shapes, Step, adapter, masked, stride_of
from kdbench_papers.fgd.card import FgdOptions
from kdbench_papers.fgd.context import ContextBlock
from kdbench_papers.fgd.losses import attention_distance, attentions, box_masks, focal_loss, global_loss

Terms = dict[str, Tensor]


class FocalGlobal(Method[FgdOptions]):
    """Distils attention-weighted features inside and outside of the boxes, and relations."""

    captures = ("neck",)

    def build(self, shapes: Shapes) -> None:
        """Make an adapter for each level and, for the relations, a context block for each model and level."""
        pairs = shapes.levels("neck")
        self.weights = self.options.weights(shapes.family or "dense")
        self.adapters = nn.ModuleList(adapter(ours, theirs) for ours, theirs in pairs)
        if "global" in self.options.terms:
            self.blocks, self.teacher_blocks = (
                nn.ModuleList(ContextBlock(theirs[1]) for _, theirs in pairs) for _ in range(2)
            )

    def losses(self, step: Step) -> Terms:
        """Return the sum over the levels of each term."""
        sums: defaultdict[str, list[Tensor]] = defaultdict(list)
        maps = step.teacher["neck"]
        levels = zip(self.adapters, step.student["neck"], maps, step.targets.valid(maps), strict=True)
        for level, (adapt, ours, theirs, cells) in enumerate(levels):
            adapted = masked(adapt(ours, theirs.shape[-2:]), cells)
            for name, term in self._level(level, adapted, masked(theirs, cells), step).items():
                sums[name].append(term)
        return {name: weight * torch.stack(sums[name]).sum() for name, weight in self.weights.items()}

    def attention(self, step: Step) -> dict[str, Tensor]:
        """Return the teacher's spatial attention on each level, scaled to a maximum of 1."""
        shown = {}
        for level, maps in enumerate(step.teacher["neck"]):
            cells, _ = attentions(maps.detach(), self.options.temperature)
            shown[f"level {level}"] = cells / cells.amax(dim=(1, 2), keepdim=True)
        return shown

    def _level(self, level: int, ours: Tensor, theirs: Tensor, step: Step) -> Terms:
        """Return the terms of one level, without weights."""
        terms, wanted = {}, self.options.terms
        if wanted & {"foreground", "background"}:
            terms["foreground"], terms["background"] = self._focal(ours, theirs, step)
        if "attention" in wanted:
            terms["attention"] = attention_distance(ours, theirs, self.options.temperature)
        if "global" in wanted:
            terms["global"] = global_loss(
                self.blocks[level](ours), self.teacher_blocks[level](theirs.detach())
            )
        return terms

    def _focal(self, ours: Tensor, theirs: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        grid, truth = (theirs.shape[-2], theirs.shape[-1]), step.targets
        masks = box_masks(truth.boxes, grid, stride_of(theirs, truth.image_shape))
        temperature = math.inf if self.options.variant == "no-attention" else self.options.temperature
        return focal_loss(ours, theirs, *masks, temperature)
