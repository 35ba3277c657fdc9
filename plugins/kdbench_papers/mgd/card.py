"""The card of masked generative distillation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from kdbench.api import TASKS, Family, MethodCard, Options, families_of

WEIGHTS: dict[Family, float] = {"dense": 2e-5, "two-stage": 5e-7, "query": 2e-5, "segmentation": 2e-5}
"""Family -> alpha of the released code; it has none for DETRs, which use that of dense detection."""
RATIOS: dict[Family, float] = {"dense": 0.65, "two-stage": 0.45, "query": 0.65, "segmentation": 0.75}
"""Family -> lambda of the released code; DETRs use that of dense detection."""


class MgdOptions(Options):
    """Options of masked generation."""

    typical: ClassVar[Mapping[str, float]] = {"weight": WEIGHTS["dense"], "ratio": RATIOS["dense"]}

    variant: Literal["cells", "channels", "no-mask"] = "cells"
    """Elements of the student's maps that are masked."""
    where: Literal["neck", "backbone"] = "neck"
    """Maps to generate: every level that the heads read, or the last stage of the backbone."""
    weight: float | None = Field(default=None, ge=0)
    """alpha, the weight of each level; unset: 2e-5, in two-stage detection 5e-7."""
    ratio: float | None = Field(default=None, ge=0, le=1)
    """lambda, the masked share; unset: 0.65 in dense, 0.45 in two-stage detection, 0.75 in segmentation."""

    def ratio_in(self, family: Family) -> float:
        """Return the masked share: the option's, or the family's if it is unset."""
        return RATIOS[family] if self.ratio is None else self.ratio

    @property
    def settled(self) -> frozenset[str]:
        """The ratio if nothing is masked."""
        return frozenset({"ratio"} if self.variant == "no-mask" else ())


CARD = MethodCard(
    name="mgd",
    title="Masked Generative Distillation",
    authors="Zhendong Yang, Zhe Li, Mingqi Shao, Dachuan Shi, Zehuan Yuan, Chun Yuan",
    year=2022,
    link="https://arxiv.org/abs/2205.01529",
    bibtex="""@inproceedings{yang2022masked,
  title = {Masked Generative Distillation},
  author = {Yang, Zhendong and Li, Zhe and Shao, Mingqi and Shi, Dachuan and Yuan, Zehuan and Yuan, Chun},
  booktitle = {European Conference on Computer Vision (ECCV)},
  year = {2022},
  eprint = {2205.01529},
  archivePrefix = {arXiv}
}""",
    tasks=TASKS,
    families=families_of(*TASKS),
    attends="the unmasked cells of each level",
    equations="""L = L_task + alpha sum over levels of 1/N sum (G(f(F_s) M) - F_t)^2
M is 0 with probability lambda and 1 otherwise, drawn in each step for each image and cell, the same for all
channels. f is a 1x1 convolution if channels differ, G a 3x3 convolution, a ReLU and another 3x3 convolution.

As in the released code: squares are summed over channels and cells and divided by the number of images; all cells
count, not only masked ones; alpha and lambda are the code's for each family. They are meant for maps of 256
channels: the sum grows with channels and cells.

Choices:
- Segmentation: `where=backbone` is the released place, the last stage. The published segmentation numbers also have
  channel-wise distillation of the logits (weight 3, T = 4). The default is the neck in every family.
- Detection: in published rows the student starts with the teacher's neck and head.
- The student's maps are resized (bilinear) to the teacher's size if they differ.""",
    method="kdbench_papers.mgd.method:MaskedGeneration",
    options=MgdOptions,
    variants={
        "cells": "cells are masked",
        "channels": "whole channels are masked, as in the paper's classification",
        "no-mask": "nothing is masked: only generation, the paper's ablation",
    },
    reported=Path(__file__).with_name("reported.csv"),
)
