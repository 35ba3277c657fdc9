"""The card of decoupled knowledge distillation."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from kdbench.api import TASKS, MethodCard, Options


class DkdOptions(Options):
    """Options of decoupled soft targets."""

    variant: Literal["both", "target", "non-target"] = "both"
    """Parts of the loss."""
    target_weight: float = Field(default=1.0, ge=0)
    """alpha, the weight of the label against all other classes."""
    others_weight: float = Field(default=0.25, ge=0)
    """beta, the weight of the other classes among themselves."""
    temperature: float = Field(default=1.0, gt=0, le=100)
    """T, by which both models' logits are divided."""
    standardise: bool = False
    """Logit standardization: first scale each position's logits to mean 0 and deviation 1 over the classes."""

    @property
    def shares(self) -> tuple[float, float]:
        """Weights of the two parts; 0 for a part that the variant does not have."""
        target = self.target_weight if self.variant != "non-target" else 0.0
        return target, self.others_weight if self.variant != "target" else 0.0

    @property
    def settled(self) -> frozenset[str]:
        """The weight of the part that the variant does not have."""
        return frozenset(
            {"target": {"others_weight"}, "non-target": {"target_weight"}}.get(self.variant, set())
        )


CARD = MethodCard(
    name="dkd",
    title="Decoupled Knowledge Distillation",
    authors="Borui Zhao, Quan Cui, Renjie Song, Yiyu Qiu, Jiajun Liang",
    year=2022,
    link="https://arxiv.org/abs/2203.08679",
    bibtex="""@inproceedings{zhao2022decoupled,
  title = {Decoupled Knowledge Distillation},
  author = {Zhao, Borui and Cui, Quan and Song, Renjie and Qiu, Yiyu and Liang, Jiajun},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)},
  year = {2022},
  eprint = {2203.08679},
  archivePrefix = {arXiv}
}""",
    tasks=TASKS,
    families=("two-stage", "segmentation"),
    equations="""b = (p_y, 1 - p_y) of the label y, q the softmax of the other logits, both at temperature T.
L = L_task + alpha T^2 KL(b_t || b_s) + beta T^2 KL(q_t || q_s), each the mean over positions

As in the released code for detection: the class logits of both models on the student's RoIs, with the labels on
which these are trained, background being a class like the others; alpha = 1, beta = 0.25, T = 1. (For
classification beta is 0.5 to 8, with a warm-up.)

Choices:
- The label's class is left out exactly, whereas the released code subtracts 1000 from its logit.
- Segmentation is ours: every pixel that is not ignored; labels are resized (nearest) to the logits of the teacher,
  the student's logits too (bilinear).
- Heads with independent (sigmoid) classes have no softmax to decouple: dense detectors are refused.
- standardise=true: logit standardization (Sun et al., CVPR 2024), published only for classification.""",
    method="kdbench_papers.dkd.method:Decoupled",
    options=DkdOptions,
    variants={
        "both": "the label against all others, and the others among themselves",
        "target": "the label against all others",
        "non-target": "the others among themselves",
    },
    reported=Path(__file__).with_name("reported.csv"),
)
