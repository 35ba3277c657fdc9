"""Decoupled features of the neck and the head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kdbench.api import Method, Shapes, Step, masked, resized, stride_of
from kdbench_papers.defeat.card import DefeatOptions
from kdbench_papers.defeat.losses import decoupled_feature_loss, decoupled_head_loss, object_masks
from kdbench_papers.fine_grained.method import adaptation
from kdbench_papers.hinton.method import check_logits

HEAD = ("softmax_logits", "roi_targets")
SIDES = {"fg": "foreground", "bg": "background"}
"""Variant -> its only side."""


class DecoupledFeatures(Method[DefeatOptions]):
    """Distils objects and background with separate weights."""

    def needs(self) -> tuple[str, ...]:
        """Return the neck, or the head's predictions for regions."""
        return HEAD if self.options.variant == "head" else ("neck",)

    def wants(self) -> tuple[str, ...]:
        """Return the head's predictions for regions, if the variant uses them."""
        return () if self.options.variant == "neck" else HEAD

    def build(self, shapes: Shapes) -> None:
        """Make an adaptation for each level."""
        self.background = shapes.classes
        if "softmax_logits" in shapes.student:
            check_logits(shapes, "softmax_logits")
        if "neck" in shapes.student:
            channels = [(ours[1], theirs[1]) for ours, theirs in shapes.levels("neck")]
            self.adaptations = nn.ModuleList(adaptation(*pair, relu=False) for pair in channels)

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Return the variant's terms."""
        options, terms = self.options, {}
        if options.variant != "head":
            foreground, background = self._neck(step)
            terms["foreground"] = options.foreground_weight * foreground
            terms["background"] = options.background_weight * background
        if options.variant != "neck" and "roi_targets" in step.student:
            foreground, background = self._head(step)
            terms["head_foreground"] = options.head_weight * foreground
            terms["head_background"] = options.head_weight * background
        side = SIDES.get(options.variant, "")
        return {name: term for name, term in terms.items() if name.endswith(side)}

    def attention(self, step: Step) -> dict[str, Tensor]:
        """Return the cells of objects on each level."""
        if self.options.variant == "head":
            return {}
        return {f"level {level}": mask.float() for level, mask in enumerate(self._masks(step))}

    def _neck(self, step: Step) -> tuple[Tensor, Tensor]:
        """Return the foreground's and the background's mean loss over the levels."""
        seen, masks = step.student["neck"], self._masks(step)
        levels = zip(
            self.adaptations, seen, step.teacher["neck"], masks, step.targets.valid(seen), strict=True
        )
        parts = [
            decoupled_feature_loss(masked(adapt(ours), cells), masked(resized(theirs, ours), cells), mask)
            for adapt, ours, theirs, mask, cells in levels
        ]
        foreground, background = (torch.stack(side).mean() for side in zip(*parts, strict=True))
        return foreground, background

    def _head(self, step: Step) -> tuple[Tensor, Tensor]:
        (student,), (teacher,) = (side["softmax_logits"].values for side in (step.student, step.teacher))
        labels = step.student["roi_targets"].labels
        return decoupled_head_loss(student, teacher, labels, self.background, self.options.temperature)

    def _masks(self, step: Step) -> list[Tensor]:
        maps, truth = step.student["neck"], step.targets
        grids = [(level.shape[-2], level.shape[-1]) for level in maps]
        return object_masks(truth.boxes, grids, [stride_of(level, truth.image_shape) for level in maps])
