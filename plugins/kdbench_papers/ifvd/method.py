"""Variation within the classes of the map that the classifier reads."""

from __future__ import annotations

from torch import Tensor

from kdbench.api import Method, Shapes, Step, resized
from kdbench_papers.hinton.method import check_logits
from kdbench_papers.ifvd.card import IfvdOptions
from kdbench_papers.ifvd.losses import variation_loss
from kdbench_papers.structured.losses import pixel_wise_loss


class FeatureVariation(Method[IfvdOptions]):
    """Pixels lie about their class's prototype as the teacher's do."""

    captures = ("neck", "pixel_logits")

    def build(self, shapes: Shapes) -> None:
        """Check that the logits line up; their channels are the classes of the masks."""
        check_logits(shapes, "pixel_logits")
        self.classes = shapes.student["pixel_logits"][0][1]

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Return the variant's terms."""
        (student,), (teacher,), truth = step.student["neck"], step.teacher["neck"], step.targets
        assert truth.masks is not None
        variation = variation_loss(student, teacher, truth.masks, self.classes, truth.ignore_index)
        terms = {"variation": self.options.weight * variation}
        if self.options.variant == "ifv+pixel":
            logits = step.teacher["pixel_logits"]
            ours = resized(step.student["pixel_logits"], logits)
            (cells,) = step.targets.valid([logits])
            terms["pixel"] = self.options.pixel_weight * pixel_wise_loss(ours, logits, cells)
        return terms
