"""Generation of the teacher's maps from the student's masked maps."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kdbench.api import Captures, Method, Shapes, Step, adapter, masked
from kdbench_papers.mgd.card import WEIGHTS, MgdOptions
from kdbench_papers.mgd.losses import generation_loss, random_mask


class MaskedGeneration(Method[MgdOptions]):
    """Trains generators to reconstruct the teacher's maps from the student's masked maps."""

    def needs(self) -> tuple[str, ...]:
        """Return the capture of the compared maps."""
        return (self.options.where,)

    def build(self, shapes: Shapes) -> None:
        """Make an adapter and a generator for each level."""
        options, pairs = self.options, shapes.levels(self.options.where)
        pairs = pairs[-1:] if options.where == "backbone" else pairs
        self.adapters = nn.ModuleList(adapter(ours, theirs) for ours, theirs in pairs)
        self.generators = nn.ModuleList(generator(theirs[1]) for _, theirs in pairs)
        family = shapes.family or "dense"
        self.weight = WEIGHTS[family] if options.weight is None else options.weight
        self.ratio = options.ratio_in(family)

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Return the generation loss, summed over the levels."""
        maps = self._maps(step.teacher)
        levels = zip(self.adapters, self.generators, self._maps(step.student), maps, strict=True)
        terms = []
        for (adapt, generate, ours, theirs), cells in zip(levels, step.targets.valid(maps), strict=True):
            generated = generate(self._dropped(adapt(ours, theirs.shape[-2:]), step))
            terms.append(generation_loss(masked(generated, cells), masked(theirs, cells)))
        return {"generation": self.weight * torch.stack(terms).sum()}

    def attention(self, step: Step) -> dict[str, Tensor]:
        """Return the unmasked cells of each level."""
        if self.options.variant != "cells":
            return {}
        ratio = self.options.ratio_in(step.family or "dense")
        return {
            f"level {level}": random_mask(maps, ratio, generator=step.generator).squeeze(1)
            for level, maps in enumerate(self._maps(step.teacher))
        }

    def _dropped(self, maps: Tensor, step: Step) -> Tensor:
        if self.options.variant == "no-mask":
            return maps
        channels = self.options.variant == "channels"
        return maps * random_mask(maps, self.ratio, channels=channels, generator=step.generator)

    def _maps(self, captures: Captures) -> tuple[Tensor, ...]:
        maps: tuple[Tensor, ...] = captures[self.options.where]
        return maps[-1:] if self.options.where == "backbone" else maps


def generator(channels: int) -> nn.Sequential:
    """Make two 3x3 convolutions with a ReLU in between."""
    first, second = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
    return nn.Sequential(first, nn.ReLU(), second)
