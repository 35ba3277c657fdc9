"""The card of DIST."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from kdbench.api import TASKS, MethodCard, Options


class DistOptions(Options):
    """Options of DIST."""

    added_later: ClassVar[tuple[str, ...]] = ("auxiliary_weight",)

    variant: Literal["both", "inter", "intra"] = "both"
    """Correlations in the loss."""
    weight: float = Field(default=1.0, ge=0)
    """Weight of each correlation (beta = gamma)."""
    temperature: float = Field(default=1.0, gt=0, le=100)
    """T, by which both models' logits are divided."""
    auxiliary_weight: float = Field(default=0.0, ge=0)
    """Segmentation: weight of the same correlations on the auxiliary heads' logits (published: 0.4)."""

    @property
    def shares(self) -> tuple[float, float]:
        """Whether the variant has the correlation between classes, and the one within a class: 1 or 0 each."""
        return float(self.variant != "intra"), float(self.variant != "inter")


CARD = MethodCard(
    name="dist",
    title="Knowledge Distillation from A Stronger Teacher",
    authors="Tao Huang, Shan You, Fei Wang, Chen Qian, Chang Xu",
    year=2022,
    link="https://arxiv.org/abs/2205.10536",
    bibtex="""@inproceedings{huang2022knowledge,
  title = {Knowledge Distillation from A Stronger Teacher},
  author = {Huang, Tao and You, Shan and Wang, Fei and Qian, Chen and Xu, Chang},
  booktitle = {Advances in Neural Information Processing Systems (NeurIPS)},
  year = {2022},
  eprint = {2205.10536},
  archivePrefix = {arXiv}
}""",
    tasks=TASKS,
    families=("two-stage", "segmentation"),
    equations="""Y = softmax of the logits / T, positions x classes.
L = L_task + w T^2 [mean over positions of (1 - r(Y_s, Y_t)) + mean over classes of (1 - r(Y_s, Y_t))]
r is Pearson's correlation of a row (inter-class) or of a column (intra-class).

As in the released code for segmentation: w = 1, T = 1, every pixel of the batch is a row, even ignored ones. That
code also has the term, times 0.4, on the auxiliary head: auxiliary_weight=0.4, for pairs whose models both have
one.

Choices:
- A row or column that is constant counts as uncorrelated and has no gradient; in the released code its gradient is
  divided by 1e-8.
- Two-stage detection is ours: the class logits of both models on the student's RoIs. The paper's detectors have
  independent (sigmoid) classes, and their code is not public: dense detectors are refused.
- The student's logits are resized (bilinear) to the teacher's size in segmentation.""",
    method="kdbench_papers.dist.method:Dist",
    options=DistOptions,
    variants={
        "both": "between the classes of a position, and between the positions of a class",
        "inter": "between the classes of a position",
        "intra": "between the positions of a class",
    },
    reported=Path(__file__).with_name("reported.csv"),
)
