"""Mimic of regions of the neck's maps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kdbench.api import (
    Method,
    Shapes,
    Step,
    coverage,
    mean_square,
    pooled_regions,
    reduced,
    stride_of,
)
from kdbench_papers.mimic.card import MimicOptions
from kdbench_papers.mimic.losses import cropped_region_l2, region_l2
from kdbench_papers.mimic.sampling import box_regions, proposal_regions
from kdbench_papers.mimic.transform import transforms

CAPTURES = {
    "whole-map": ("neck",),
    "gt-boxes": ("neck", "box_levels"),
    "multi-level": ("neck", "proposals"),
    "proposals": ("neck", "proposals", "box_levels"),
    "head-outputs": ("neck", "proposals", "box_levels", "roi_targets"),
    "two-stage": ("neck", "proposals", "box_levels", "roi_targets"),
}


class Mimic(Method[MimicOptions]):
    """Pulls the student's transformed regions to the teacher's."""

    def needs(self) -> tuple[str, ...]:
        """Return the neck, and the captures that define the variant's regions."""
        return CAPTURES[self.options.variant]

    def build(self, shapes: Shapes) -> None:
        """Build a transform for each level."""
        self.transforms = transforms(shapes.levels("neck"))

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Return the mimic term and, in some variants, the terms of the RoI head's outputs."""
        maps = step.teacher["neck"]
        levels = zip(self.transforms, step.student["neck"], maps, strict=True)
        adapted = [transform(ours, theirs.shape[-2:]) for transform, ours, theirs in levels]
        terms = {"mimic": self.options.weight * self._mimic(adapted, maps, step)}
        if "roi_targets" in self.needs():
            ours, theirs = step.student["roi_targets"], step.teacher["roi_targets"]
            weight = self.head_weight(step) * self.options.weight
            terms["logits"] = weight * region_l2(ours.logits, theirs.logits)
            share = len(ours.boxes) / _count(ours.boxes, len(ours.boxes))
            terms["boxes"] = weight * share * region_l2(ours.boxes, theirs.boxes)
        return terms

    def head_weight(self, step: Step) -> float:
        """Return 0 in the first stage of two-stage, in which only the RPN trains, else 1."""
        first = self.options.variant == "two-stage" and step.progress < self.options.stage
        return 0.0 if first else 1.0

    def attention(self, step: Step) -> dict[str, Tensor]:
        """Return the number of regions that cover each cell of the teacher's levels, divided by the largest."""
        maps = step.teacher["neck"]
        strides = [stride_of(level, step.targets.image_shape) for level in maps]
        if self.options.variant == "whole-map":
            counts = [level.new_ones(len(level), *level.shape[-2:]) for level in maps]
        else:
            grids = [(level.shape[-2], level.shape[-1]) for level in maps]
            parts = zip(self._regions(step, strides), grids, strides, strict=True)
            counts = [coverage(rois, len(maps[0]), grid, stride) for rois, grid, stride in parts]
        most = torch.stack([count.amax() for count in counts]).amax().clamp(min=1)
        return {
            f"level {level}, stride {stride}": count / most
            for level, (stride, count) in enumerate(zip(strides, counts, strict=True))
        }

    def _mimic(self, student: Sequence[Tensor], teacher: Sequence[Tensor], step: Step) -> Tensor:
        """Return the mean loss over the regions of all levels."""
        if self.options.variant == "whole-map":
            levels = zip(student, teacher, step.targets.valid(teacher), strict=True)
            whole = [0.5 * mean_square(*self.compared(ours, theirs), cells) for ours, theirs, cells in levels]
            return torch.stack(whole).mean()
        strides = [stride_of(level, step.targets.image_shape) for level in teacher]
        parts = self._regions(step, strides)
        sums = [
            len(part) * self._level(ours, theirs, part, stride)
            for ours, theirs, part, stride in zip(student, teacher, parts, strides, strict=True)
        ]
        return torch.stack(sums).sum() / _count(sums[0], sum(len(part) for part in parts))

    def _regions(self, step: Step, strides: Sequence[int]) -> list[Tensor]:
        """Return the regions of each level, (R, 5) image, x1, y1, x2, y2."""
        rois = self._rois(step)
        if self.options.variant == "multi-level":
            return [rois for _ in strides]
        assigned = step.student["box_levels"](rois[:, 1:])
        return [rois[assigned == level] for level in range(len(strides))]

    def _rois(self, step: Step) -> Tensor:
        """Return the regions of this batch, (R, 5) image, x1, y1, x2, y2."""
        options = self.options
        if options.variant == "gt-boxes":
            return box_regions(step.targets, options.overlap, step.generator)
        proposals = [part.detach() for part in step.student["proposals"]]
        truth = step.targets.boxes
        return proposal_regions(proposals, truth, options.proposals, options.overlap)

    def _level(self, student: Tensor, teacher: Tensor, rois: Tensor, stride: int) -> Tensor:
        """Return the mean loss over the regions of one level."""
        if self.options.pooling == "crop":
            return cropped_region_l2(*self.compared(student, teacher), rois, stride)
        regions = [pooled_regions(maps, rois, stride, self.options.size) for maps in (student, teacher)]
        return region_l2(*self.compared(*regions))

    def compared(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        """Return the values to compare; quantization mimic overrides this to quantize both."""
        return student, teacher


def _count(like: Tensor, count: int) -> Tensor:
    """Return the number of regions, averaged over the processes."""
    return reduced(torch.full((), float(count), device=like.device))
