"""The card of Chen et al."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from kdbench.api import MethodCard, Options, families_of

PARTS: dict[str, tuple[str, ...]] = {
    "l2": ("l2",),
    "l2-b": ("l2-b",),
    "cls": ("cls",),
    "cls-w": ("cls-w",),
    "hints": ("hints",),
    "hints-a": ("hints-a",),
    "l2-b+cls-w": ("l2-b", "cls-w"),
    "all": ("l2-b", "cls-w", "hints-a"),
}
"""Variant (a row of the paper's Table 4) -> the parts of the method that it uses."""


class ChenOptions(Options):
    """Options of Chen et al."""

    added_later: ClassVar[tuple[str, ...]] = ("hint_norm",)
    plain: ClassVar[Mapping[str, Any]] = {"mu": 1.0, "nu": 0.0, "gamma": 0.0}

    variant: Literal["l2", "l2-b", "cls", "cls-w", "hints", "hints-a", "l2-b+cls-w", "all"] = "all"
    """Parts of the method to use: a row of the paper's Table 4."""
    mu: float = Field(default=0.5, gt=0, le=1)
    """Weight of the hard labels in the classification loss; the soft labels have 1 - mu."""
    background_weight: float = Field(default=1.5, ge=0)
    """w, the weight of the background in the soft loss of cls-w; other classes have 1."""
    nu: float = Field(default=0.5, ge=0)
    """Weight of the regression part, bounded or not."""
    margin: float = Field(default=0.0, ge=0)
    """m: a box has a loss until its squared error is below the teacher's by this margin."""
    gamma: float = Field(default=0.5, ge=0)
    """Weight of the hints."""
    hint_norm: Literal["l2", "l1"] = "l2"
    """Hints: mean of squared or of absolute differences."""

    def has(self, *parts: str) -> bool:
        """Whether the variant has any of these parts."""
        return not set(parts).isdisjoint(PARTS[self.variant])

    @property
    def settled(self) -> frozenset[str]:
        """Options of parts that the variant does not have."""
        used = {
            "mu": self.has("cls", "cls-w"),
            "background_weight": self.has("cls-w"),
            "nu": self.has("l2", "l2-b"),
            "margin": self.has("l2-b"),
            "gamma": self.has("hints", "hints-a"),
            "hint_norm": self.has("hints", "hints-a"),
        }
        return frozenset(name for name, needed in used.items() if not needed)


CARD = MethodCard(
    name="chen",
    title="Learning Efficient Object Detection Models with Knowledge Distillation",
    authors="Guobin Chen, Wongun Choi, Xiang Yu, Tony Han, Manmohan Chandraker",
    year=2017,
    link="https://papers.nips.cc/paper/6676-learning-efficient-object-detection-models-with-knowledge-distillation",
    bibtex="""@inproceedings{chen2017learning,
  title = {Learning Efficient Object Detection Models with Knowledge Distillation},
  author = {Chen, Guobin and Choi, Wongun and Yu, Xiang and Han, Tony and Chandraker, Manmohan},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2017}
}""",
    tasks=("detection",),
    families=families_of("detection"),
    equations="""L = L_RPN + L_RCN + gamma L_hint, and in each head L_cls + L_reg:
L_cls = mu L_hard + (1 - mu) L_soft, L_soft = - sum_c w_c P_t(c) log P_s(c), w = 1.5 for background, else 1;
L_reg = L_task + nu L_b, L_b = ||R_s - y||^2 if ||R_s - y||^2 + m > ||R_t - y||^2, else 0, for each box;
L_hint = ||V - Z||^2, V the student's map after a 1x1 convolution, Z the teacher's.

According to reading notes, gamma = 0.5, w and T = 1 are the paper's; nu = 0.5 is a public implementation's. The
paper gives no mu and no m: mu = 0.5 and m = 0 are ours. mu only multiplies the detector's own
classification terms; with mu = 1, nu = 0 and gamma = 0 the student is the plain student.

Choices where the paper is silent:
- RPN: the anchors that the student's RPN sampled, in both models. Its single logit z, a sigmoid in mmdet, is used
  as two classes (z, 0), object and background. RCN: the student's sampled RoIs through the teacher's RoI head; of
  class-wise regressions, only that of the box's own class counts. L_soft is the mean over these positions; L_b is
  summed over the positives and divided by the number of all sampled positions, like L_task.
- Dense detectors have no RCN: the RPN's part applies to their head, on the anchors or points on which the student
  is trained. A sigmoid head has no background class: each class has a soft Bernoulli cross-entropy whose "no" part
  has the background's weight; the sum over positions is divided by the teacher's foreground mass (the sum of
  each position's largest class probability, at least 1), as in `hinton`. L_b is the mean over the positives.
- L_soft includes the teacher's entropy, as in the paper, so it stays well above 0 even if the student agrees.
- Regressions are compared in the head's encoding, as deltas; GFL (mean of its distribution) and FCOS: distances
  relative to the ground-truth box's width and height. Student and teacher need the same anchors and encoding.
- l2: squared distance to the teacher's regression, not bounded, with nu. L2-B pulls to the ground truth, as above.
- Hints are on every level of the neck's maps: the mean of squares over a level's elements, then over levels.
  hints has a convolution only if channels differ (where it is unavoidable), hints-a always; bilinear interpolation
  if sizes differ. Cells that only cover padding do not count. hint_norm=l1 uses absolute differences, the other
  norm that the paper mentions.
- Numbers of boxes and positions by which sums are divided are means over the processes.""",
    method="kdbench_papers.chen.method:Chen",
    options=ChenOptions,
    variants={
        "l2": "L2 to the teacher's regressions, not bounded",
        "l2-b": "the teacher-bounded regression",
        "cls": "soft labels, equal weights for all classes",
        "cls-w": "soft labels, with a weight for the background",
        "hints": "hints, with a convolution only if channels differ",
        "hints-a": "hints, always with a convolution",
        "l2-b+cls-w": "both heads' parts, no hints",
        "all": "the paper's method: l2-b, cls-w and hints-a",
    },
    reported=Path(__file__).with_name("reported.csv"),
)
