"""Mimic with quantized regions."""

from __future__ import annotations

from torch import Tensor

from kdbench_papers.mimic.method import Mimic
from kdbench_papers.quantization_mimic.card import QuantizationMimicOptions
from kdbench_papers.quantization_mimic.losses import BINS


class QuantizationMimic(Mimic):
    """The student's regions, transformed, against the quantized teacher's, after Q on the variant's sides."""

    def __init__(self, options: QuantizationMimicOptions) -> None:
        super().__init__(options.as_mimic())
        self.quantized = options

    def compared(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        """Both sides after Q, where the variant has it."""
        own, quantize = self.quantized, BINS[self.quantized.bins]
        return (
            quantize(student, own.step) if own.quantizes_student else student,
            quantize(teacher, own.step) if own.quantizes_teacher else teacher,
        )

    def notes(self) -> list[str]:
        """Say which transforms are used and where Q is."""
        own = self.quantized
        sides = [name for name in ("student", "teacher") if getattr(own, f"quantizes_{name}")]
        said = f"Q with {own.bins} bins of {own.step:g} on the regions of: {', '.join(sides)}"
        return super().notes() + ([said] if sides else [])
