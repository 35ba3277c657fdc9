"""The card of Quantization Mimic."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from kdbench.api import MethodCard, Options, TeacherStage
from kdbench_papers.mimic.card import MimicOptions, Regions

SHARE = 0.25
"""Length of the teacher's fine-tuning, relative to its training: our choice, since the paper gives none."""
LR_FACTOR = 0.1
"""Peak learning rate of the fine-tuning, relative to the training's: our choice."""


class QuantizationMimicOptions(Options):
    """Options of Quantization Mimic."""

    variant: Literal["both", "student-only", "teacher-only", "power-of-two", "none"] = "both"
    """Features that are quantized, and the kind of bins."""
    step: float = Field(default=1.0, gt=0)
    """s, the width of a bin in units of the features; the paper gives none."""
    regions: Regions = "proposals"
    """Regions and outputs that the student mimics: a variant of mimic."""
    weight: float = Field(default=1.0, ge=0)
    """lambda, the weight of the mimic loss."""
    pooling: Literal["roi-align", "crop"] = "roi-align"
    """Whether regions are pooled to one size, or cropped to their exact cells."""
    size: int = Field(default=7, ge=1, le=32)
    """roi-align: height and width of a pooled region."""
    proposals: int = Field(default=256, ge=2, le=4096)
    """Regions per image, from the student's proposals; at most half of them are positive."""
    overlap: float = Field(default=0.5, gt=0, le=1)
    """Smallest IoU with a ground-truth box at which a region is positive."""
    stage: float = Field(default=0.25, gt=0, lt=1)
    """regions=two-stage: share of the iterations in which the RoI head does not train."""

    @property
    def settled(self) -> frozenset[str]:
        """Options that mimic does not use with the same regions, and the step if nothing is quantized."""
        return self.as_mimic().settled | ({"step"} if self.variant == "none" else set())

    @property
    def bins(self) -> str:
        """Kind of the bins: ``uniform`` or ``power-of-two``."""
        return "power-of-two" if self.variant == "power-of-two" else "uniform"

    @property
    def quantizes_student(self) -> bool:
        """Whether Q is applied to the student's regions."""
        return self.variant not in ("none", "teacher-only")

    @property
    def quantizes_teacher(self) -> bool:
        """Whether Q is applied to the teacher's maps and regions."""
        return self.variant not in ("none", "student-only")

    def as_mimic(self) -> MimicOptions:
        """Return mimic's options for the same regions."""
        same = self.model_dump(exclude={"variant", "step", "regions"})
        return MimicOptions(variant=self.regions, **same)


def teacher_stage(options: Options) -> TeacherStage | None:
    """Return the fine-tuning to the quantized teacher, or None if the variant does not quantize it."""
    assert isinstance(options, QuantizationMimicOptions)
    if not options.quantizes_teacher:
        return None
    return TeacherStage(
        name="quantized",
        transform="kdbench_papers.quantization_mimic.losses:Quantization",
        arguments={"step": options.step, "bins": options.bins},
        share=SHARE,
        lr_factor=LR_FACTOR,
    )


CARD = MethodCard(
    name="quantization-mimic",
    title="Quantization Mimic: Towards Very Tiny CNN for Object Detection",
    authors="Yi Wei, Xinyu Pan, Hongwei Qin, Wanli Ouyang, Junjie Yan",
    year=2018,
    link="https://arxiv.org/abs/1805.02152",
    bibtex="""@inproceedings{wei2018quantization,
  title = {Quantization Mimic: Towards Very Tiny {CNN} for Object Detection},
  author = {Wei, Yi and Pan, Xinyu and Qin, Hongwei and Ouyang, Wanli and Yan, Junjie},
  booktitle = {European Conference on Computer Vision},
  year = {2018}
}""",
    tasks=("detection",),
    families=("two-stage",),
    attends="the number of regions that cover each cell",
    equations=f"""L = L_task + lambda L_m,
L_m = 1 / (2N) sum_i 1 / m_i || Q(f_t^i) - Q(r(f_s^i)) ||^2 over N regions,
Q(x) = max(0, ceil(x / s - 1/2) s): the nearest of 0, s, 2s, ..., ties down, negatives to 0.
Gradients pass straight through Q, as through the identity.

The teacher is trained, then fine-tuned with Q on its feature maps: this is the quantized teacher, which is made
once and kept. Its regions are cut from these maps, and Q is applied to the regions of both sides. Regions and r are
mimic's.

Choices where the paper is silent or its single map becomes a pyramid:
- The paper's maps come after a ReLU. Half of a neck's features are negative; Q would set them all to 0, and a
  straight-through gradient would drive the student to minus infinity there. So Q is symmetric, sign(x) Q(|x|),
  which equals the paper's Q on maps without negative values.
- s = 1 is ours; the paper gives none. It is absolute, so features should have about this scale: on the small
  pairs, whose necks are normalised, they have a standard deviation of 0.7 to 0.9. A run notes s in standard
  deviations of the teacher's features, and warns if nearly all of them become 0.
- The fine-tuning has {SHARE:g} of the teacher's iterations, at {LR_FACTOR:g} of its learning rate.
- roi-align interpolates the regions of a quantized map, so that Q rounds them again; crop does not.
- 1 / m_i is mimic's; lambda = 1.
- power-of-two: the nearest of 0, s, 2s, 4s, ..., in the teacher as well.
- gap closed is measured against the teacher before its fine-tuning.
- Dense detectors have no proposals: use regions=gt-boxes or regions=whole-map there.""",
    method="kdbench_papers.quantization_mimic.method:QuantizationMimic",
    options=QuantizationMimicOptions,
    variants={
        "both": "quantized teacher, Q on both sides",
        "student-only": "Q on the student's regions, teacher not quantized",
        "teacher-only": "quantized teacher with Q on its regions, student's regions not quantized",
        "power-of-two": "both, with bins 0, s, 2s, 4s, ... (in the paper worse than uniform ones)",
        "none": "mimic",
    },
    reported=Path(__file__).with_name("reported.csv"),
    teacher_stage=teacher_stage,
    revision=2,
)
