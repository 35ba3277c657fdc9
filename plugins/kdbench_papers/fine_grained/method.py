"""Imitation of the neck's maps near the objects."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kdbench.api import Method, Shapes, Step, at_least_float32, reduced, resized, stride_of, valid_cells
from kdbench_papers.fine_grained.card import FineGrainedOptions
from kdbench_papers.fine_grained.losses import box_masks, imitation_sum, pyramid_masks, scaled
from kdbench_papers.hinton.losses import logits_loss
from kdbench_papers.hinton.method import check_logits, valid_logits

DEVIATION = 1e-4
"""Standard deviation of the adaptation's initial weights."""


class FineGrained(Method[FineGrainedOptions]):
    """Pulls the student's adapted maps to the teacher's, in the imitation region."""

    def needs(self) -> tuple[str, ...]:
        """Return the maps, the anchors that define the region, and the logits, as far as the variant uses them."""
        options = self.options
        maps = ("neck",) if options.imitates else ()
        anchors = ("anchors",) if options.imitates and options.variant != "full" else ()
        return maps + anchors + (("logits",) if options.softens else ())

    def build(self, shapes: Shapes) -> None:
        """Build an adaptation for each level."""
        if self.options.softens:
            check_logits(shapes)
        if self.options.imitates:
            channels = [(ours[1], theirs[1]) for ours, theirs in shapes.levels("neck")]
            relu = self.options.relu
            if relu is None:
                relu = all(level.lowest >= 0 for level in shapes.spreads.get("neck", ()))
            self.adaptations = nn.ModuleList(adaptation(*pair, relu=relu) for pair in channels)

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Return the imitation, which is 0 while it is held, and the soft targets if the variant has them."""
        options, terms = self.options, {}
        if options.imitates:
            terms["imitation"] = options.weight * self._imitation(step)
        if options.softens:
            student, teacher = step.student["logits"], step.teacher["logits"]
            soft = logits_loss(student, teacher, options.temperature, valid=valid_logits(step))
            terms["soft"] = options.logits_weight * soft
        return terms

    def attention(self, step: Step) -> dict[str, Tensor]:
        """Return the imitation region of each level."""
        if not self.options.imitates:
            return {}
        strides = [stride_of(features, step.targets.image_shape) for features in step.student["neck"]]
        return {
            f"level {level}, stride {stride}": mask.float()
            for level, (stride, mask) in enumerate(zip(strides, self._masks(step), strict=True))
        }

    def _imitation(self, step: Step) -> Tensor:
        """Return the mean over the region's cells of all levels."""
        if step.iteration < self.options.hold(step.iterations):
            # The sum of an empty tensor is exactly 0 with a valid gradient, even if a map is not finite.
            return at_least_float32(step.student["neck"][0][:0]).sum()
        masks = self._masks(step)
        levels = zip(self.adaptations, step.student["neck"], step.teacher["neck"], masks, strict=True)
        sums = [
            self._scale(theirs) * imitation_sum(adapt(ours), resized(theirs, ours), mask)
            for adapt, ours, theirs, mask in levels
        ]
        return torch.stack(sums).sum() / reduced(torch.stack([mask.sum() for mask in masks]).sum())

    def _scale(self, teacher: Tensor) -> float:
        """Return the factor on the sum over a map's channels that makes lambda independent of their number."""
        basis = self.options.channels
        return 1.0 if basis is None else basis / teacher.shape[1]

    def _masks(self, step: Step) -> list[Tensor]:
        """Return the imitation region, (B, H, W) booleans for each of the student's levels."""
        maps, truth = step.student["neck"], step.targets
        grids = [(level.shape[-2], level.shape[-1]) for level in maps]
        if self.options.variant == "full":
            return valid_cells(maps, truth.sizes, [stride_of(level, truth.image_shape) for level in maps])
        anchors = step.student["anchors"]
        if self.options.variant == "gt-boxes":
            strides = [stride_of(level, truth.image_shape) for level in maps]
            boxes = [scaled(part, self.options.scale) for part in truth.boxes]
            return box_masks(anchors, boxes, grids, strides)
        return pyramid_masks(anchors, truth.boxes, grids, self.options.threshold)


def adaptation(student: int, teacher: int, *, relu: bool) -> nn.Sequential:
    """Make a 3x3 convolution with weights near 0, followed by a ReLU if requested."""
    convolution = nn.Conv2d(student, teacher, 3, padding=1)
    nn.init.trunc_normal_(convolution.weight, std=DEVIATION, a=-2 * DEVIATION, b=2 * DEVIATION)
    assert convolution.bias is not None
    nn.init.zeros_(convolution.bias)
    return nn.Sequential(convolution, nn.ReLU()) if relu else nn.Sequential(convolution)
