"""The card of PKD: its paper, options, equations and choices."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from kdbench.api import TASKS, MethodCard, Options, families_of

ONE_STAGE_WEIGHT = 10.0
"""Weight of a level in the public configurations of one-stage detectors."""
WEIGHT = 6.0
"""Weight of a level in the public configurations of Faster R-CNN."""


class PkdOptions(Options):
    """Options of PKD."""

    typical: ClassVar[Mapping[str, float]] = {"weight": WEIGHT}

    weight: float | None = Field(default=None, ge=0)
    """Weight of each level of the neck; unset: 10 in one-stage detectors, 6 in other models."""


CARD = MethodCard(
    name="pkd",
    title="PKD: General Distillation Framework for Object Detectors via Pearson Correlation Coefficient",
    authors="Weihan Cao, Yifan Zhang, Jianfei Gao, Anda Cheng, Ke Cheng, Jian Cheng",
    year=2022,
    link="https://arxiv.org/abs/2207.02039",
    bibtex="""@inproceedings{cao2022pkd,
  title = {{PKD}: General Distillation Framework for Object Detectors via {Pearson} Correlation Coefficient},
  author = {Cao, Weihan and Zhang, Yifan and Gao, Jianfei and Cheng, Anda and Cheng, Ke and Cheng, Jian},
  booktitle = {Advances in Neural Information Processing Systems (NeurIPS)},
  year = {2022},
  eprint = {2207.02039},
  archivePrefix = {arXiv}
}""",
    tasks=TASKS,
    families=families_of(*TASKS),
    equations="""s', t' = each channel of student and teacher with mean 0 and deviation 1 over batch and positions
L = L_task + w mean (s' - t')^2 / 2 = L_task + w mean over channels of (1 - r), r their Pearson correlation

As in the public code (mmrazor): the levels of the neck, each with the weight 6 in Faster R-CNN and 10 in pairs of
one-stage detectors (RetinaNet, RepPoints, FCOS), summed; the student's maps are resized (bilinear) to the
teacher's size if they differ.

Choices:
- The deviation is that of the batch itself (divided by n, not n - 1), so that the loss is exactly 1 - r.
- A constant channel has no correlation: it counts as 0 and gets no gradient. The code divides by
  the deviation plus 1e-6, which amplifies its gradient instead.
- A 1x1 convolution without bias converts the student's maps to the teacher's channels if they differ; the public
  code compares necks with the same channels.
- All levels of the neck count. The public configuration of Faster R-CNN leaves the last one out, which is
  pooled from the one before.
- Segmentation, which the paper does not have: the map that the classifier reads, with the weight 6.
- Cells that only cover padding do not count. The statistics are of each process's own batch, as in the public code.
- The gradient is large (on a small Faster R-CNN ten times the task's), so gradient clipping acts in most
  steps and reduces the task's gradient too.""",
    method="kdbench_pkd.method:Pkd",
    options=PkdOptions,
    reported=Path(__file__).with_name("reported.csv"),
    revision=2,
)
