"""Mimicked regions of the neck's maps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kdbench.cards import Options
from kdbench.distill import Method, Shapes, Step, assign_levels, pooled_regions, stride_of
from kdbench.errors import UserError
from kdbench_papers.common import paired_levels
from kdbench_papers.mimic.card import MimicOptions
from kdbench_papers.mimic.losses import cropped_region_l2, region_l2
from kdbench_papers.mimic.sampling import box_regions, proposal_regions
from kdbench_papers.mimic.transform import transforms

HEAD = ("roi_logits", "roi_boxes")


class Mimic(Method):
    """The student's regions, transformed, against the teacher's."""

    captures = ("neck", "proposals")
    options: MimicOptions

    @classmethod
    def needs(cls, options: Options) -> tuple[str, ...]:
        """The neck, and what the variant takes its regions from."""
        assert isinstance(options, MimicOptions)
        if options.variant in ("gt-boxes", "whole-map"):
            return ("neck",)
        return (*cls.captures, *HEAD) if options.variant == "two-stage" else cls.captures

    def build(self, shapes: Shapes) -> None:
        """A transform for each level."""
        self.transforms = transforms(paired_levels(shapes, "neck"))
        for name in HEAD if self.options.variant == "two-stage" else ():
            student, teacher = paired_levels(shapes, name)[0]
            if student[1:] != teacher[1:]:
                raise UserError(
                    f"the student's {name} {student} and the teacher's {teacher} differ: choose a pair whose "
                    "RoI heads have the same outputs, or another variant of mimic."
                )

    def losses(self, step: Step) -> dict[str, Tensor]:
        """The mimic term, and in two-stage the RoI head's outputs."""
        maps = step.teacher["neck"]
        levels = zip(self.transforms, step.student["neck"], maps, strict=True)
        adapted = [transform(ours, theirs.shape[-2:]) for transform, ours, theirs in levels]
        terms = {"mimic": self.options.weight * self._mimic(adapted, maps, step)}
        if self.options.variant == "two-stage":
            for name in HEAD:
                terms[name] = self.options.weight * region_l2(step.student[name], step.teacher[name])
        return terms

    def _mimic(self, student: Sequence[Tensor], teacher: Sequence[Tensor], step: Step) -> Tensor:
        """Mean over the regions of all levels."""
        if self.options.variant == "whole-map":
            whole = [region_l2(ours, theirs) for ours, theirs in zip(student, teacher, strict=True)]
            return torch.stack(whole).mean()
        strides = [stride_of(level, step.targets.image_shape) for level in teacher]
        rois = self._rois(step)
        if self.options.variant == "multi-level":
            parts = [rois for _ in strides]
        else:
            assigned = assign_levels(rois[:, 1:], len(strides), self.options.finest * strides[0])
            parts = [rois[assigned == level] for level in range(len(strides))]
        sums = [
            len(part) * self._level(ours, theirs, part, stride)
            for ours, theirs, part, stride in zip(student, teacher, parts, strides, strict=True)
        ]
        return torch.stack(sums).sum() / max(sum(len(part) for part in parts), 1)

    def _rois(self, step: Step) -> Tensor:
        """(R, 5) image, x1, y1, x2, y2: the regions of this batch."""
        options = self.options
        if options.variant == "gt-boxes":
            return box_regions(step.targets, options.overlap)
        proposals = [part.detach() for part in step.student["proposals"]]
        return proposal_regions(proposals, step.targets.boxes, options.proposals, options.overlap)

    def _level(self, student: Tensor, teacher: Tensor, rois: Tensor, stride: int) -> Tensor:
        """Mean over the regions of one level."""
        if self.options.pooling == "crop":
            return cropped_region_l2(student, teacher, rois, stride)
        size = self.options.size
        return region_l2(
            pooled_regions(student, rois, stride, size), pooled_regions(teacher, rois, stride, size)
        )
