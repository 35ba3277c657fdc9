"""Mimic with quantized regions."""

from __future__ import annotations

from torch import Tensor

from kdbench.api import Shapes
from kdbench_papers.mimic.method import Mimic
from kdbench_papers.quantization_mimic.card import QuantizationMimicOptions
from kdbench_papers.quantization_mimic.losses import symmetric

WIDE = 6.0
"""Width of a step, in standard deviations of the features, above which nearly all features become 0."""


class QuantizationMimic(Mimic):
    """Pulls the student's transformed regions to the quantized teacher's, after Q on the variant's sides."""

    def __init__(self, options: QuantizationMimicOptions) -> None:
        super().__init__(options.as_mimic())
        self.quantized = options
        self.deviation = 0.0

    def build(self, shapes: Shapes) -> None:
        """Build the transforms, and store the standard deviation of the teacher's features."""
        super().build(shapes)
        self.deviation = min((level.deviation for level in shapes.spreads.get("neck", ())), default=0.0)

    def compared(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        """Return both sides after Q, as far as the variant applies it."""
        own = self.quantized
        return (
            symmetric(student, own.step, own.bins) if own.quantizes_student else student,
            symmetric(teacher, own.step, own.bins) if own.quantizes_teacher else teacher,
        )

    def notes(self) -> list[str]:
        """Return the transforms, and where Q is applied."""
        own = self.quantized
        sides = [name for name in ("student", "teacher") if getattr(own, f"quantizes_{name}")]
        said = f"Q with {own.bins} bins of {own.step:g} on the regions of: {', '.join(sides)}"
        return super().notes() + ([said + self._width()] if sides else [])

    def _width(self) -> str:
        """Describe the step relative to the spread of the teacher's features."""
        if not self.deviation:
            return ""
        width = self.quantized.step / self.deviation
        lost = ", so that nearly all become 0: choose a smaller step" if width > WIDE else ""
        return f" ({width:.2g} standard deviations of the teacher's features{lost})"
