"""Feature variation within classes, on the map that the classifier reads."""

from __future__ import annotations

from torch import Tensor

from kdbench.api import Method, Shapes, Step, resized
from kdbench_papers.hinton.method import check_logits
from kdbench_papers.ifvd.card import IfvdOptions
from kdbench_papers.ifvd.losses import variation_loss
from kdbench_papers.structured.losses import pixel_wise_loss


class FeatureVariation(Method[IfvdOptions]):
    """Makes the student's pixels vary around their class's prototype like the teacher's."""

    captures = ("neck", "pixel_logits")

    def build(self, shapes: Shapes) -> None:
        """Check that the logits can be compared; their channels are the classes of the masks."""
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
