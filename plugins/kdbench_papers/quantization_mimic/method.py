"""Mimic with quantized regions."""

from __future__ import annotations

from torch import Tensor

from kdbench.api import Shapes, UserError
from kdbench_papers.mimic.method import Mimic
from kdbench_papers.quantization_mimic.card import QuantizationMimicOptions
from kdbench_papers.quantization_mimic.losses import symmetric

SMALLEST = 3.0
"""Of a map whose standard deviation, times this, is under half a step, Q leaves nearly nothing."""


class QuantizationMimic(Mimic):
    """The student's regions, transformed, against the quantized teacher's, after Q on the variant's sides."""

    def __init__(self, options: QuantizationMimicOptions) -> None:
        super().__init__(options.as_mimic())
        self.quantized = options
        self.deviation = 0.0

    def build(self, shapes: Shapes) -> None:
        """Build the transforms, and check for a step that leaves something to mimic.

        Raises:
            UserError: If nearly all of the teacher's features would be rounded to 0.
        """
        super().build(shapes)
        self.deviation = min((level.deviation for level in shapes.spreads.get("neck", ())), default=0.0)
        if self.quantized.variant != "none" and 0 < SMALLEST * self.deviation < self.quantized.step / 2:
            raise UserError(
                f"the step {self.quantized.step:g} rounds nearly all of the teacher's features to 0: their "
                f"standard deviation is {self.deviation:.2g}: use quantization-mimic[step={self.deviation:.1g}]."
            )

    def compared(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        """Both sides after Q, where the variant has it."""
        own = self.quantized
        return (
            symmetric(student, own.step, own.bins) if own.quantizes_student else student,
            symmetric(teacher, own.step, own.bins) if own.quantizes_teacher else teacher,
        )

    def notes(self) -> list[str]:
        """Say which transforms are used and where Q is."""
        own = self.quantized
        sides = [name for name in ("student", "teacher") if getattr(own, f"quantizes_{name}")]
        said = f"Q with {own.bins} bins of {own.step:g} on the regions of: {', '.join(sides)}"
        if self.deviation:
            said += f" ({own.step / self.deviation:.2g} times the teacher's deviation)"
        return super().notes() + ([said] if sides else [])
