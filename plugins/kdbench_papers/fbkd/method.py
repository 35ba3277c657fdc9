"""Attention-guided and non-local distillation of the neck's maps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from kdbench.api import Method, Shapes, Step, at_least_float32, masked, resized
from kdbench_papers.fbkd.blocks import LevelBlocks
from kdbench_papers.fbkd.card import FbkdOptions
from kdbench_papers.fbkd.losses import distance, norm_loss, spatial_mask


class FeatureBased(Method[FbkdOptions]):
    """Distils maps, their means, and relations between their cells."""

    captures = ("neck",)

    def build(self, shapes: Shapes) -> None:
        """Make the trained modules of each level."""
        channels = [(ours[1], theirs[1]) for ours, theirs in shapes.levels("neck")]
        self.levels = nn.ModuleList(
            LevelBlocks(pair, level, self.options.terms) for level, pair in enumerate(channels)
        )

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Return the sum over the levels of each term."""
        maps = step.teacher["neck"]
        levels = zip(self.levels, step.student["neck"], maps, step.targets.valid(maps), strict=True)
        found = [
            _level(blocks, masked(resized(ours, theirs), cells), masked(theirs, cells), self.options.terms)
            for blocks, ours, theirs, cells in levels
        ]
        weights = {name: getattr(self.options, f"{name}_weight") for name in self.options.terms}
        return {
            name: weight * torch.stack([terms[name] for terms in found]).sum()
            for name, weight in weights.items()
        }


def _level(blocks: Any, ours: Tensor, theirs: Tensor, terms: tuple[str, ...]) -> dict[str, Tensor]:
    """Return the terms of one level, without weights."""
    found = {}
    if "features" in terms:
        found["features"] = norm_loss(blocks.features(ours), theirs, spatial_mask(ours, theirs))
    if "attention" in terms:
        own, other = at_least_float32(ours), at_least_float32(theirs)
        across = norm_loss(blocks.channels(own.mean(dim=(2, 3))), other.mean(dim=(2, 3)))
        cells = norm_loss(blocks.cells(own.mean(dim=1, keepdim=True)), other.mean(dim=1, keepdim=True))
        found["attention"] = across + cells
    if "nonlocal" in terms:
        related = at_least_float32(blocks.relations(blocks.student(ours)))
        found["nonlocal"] = distance(related, blocks.teacher(theirs.detach()))
    return found
