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

gamma = 0.5, w and T = 1 are the paper's as reading notes have them, nu = 0.5 is a public implementation's. The
paper gives no mu and no m: mu = 0.5 and m = 0 are ours. mu multiplies the detector's own
classification terms, and no others; with mu = 1, nu = 0 and gamma = 0 it is the plain student.

Choices, where the paper is silent:
- RPN: the anchors that the student's RPN sampled, at both models. Its one logit z, a sigmoid in mmdet, is taken as
  the two classes (z, 0): object and background. RCN: the student's sampled RoIs through the teacher's RoI head;
  of a regression for each class the box's own counts. L_soft is the mean over these positions; L_b is summed over
  the positive ones and divided by the number of all sampled ones, as L_task is.
- Dense detectors have no RCN: the RPN's half applies to their head, on the anchors or points that the student is
  trained on. A sigmoid head has no background class: each class is a soft Bernoulli cross-entropy whose "no" part
  has the background's weight; the sum over positions is divided by the teacher's foreground mass (the sum of
  each position's largest class probability, at least 1), as in `hinton`. L_b is the mean over the positives.
- L_soft holds the teacher's entropy, as the paper's does: its value stays well over 0 where the student agrees.
- Regressions are compared as the head encodes them, deltas; GFL (mean of its distribution) and FCOS: distances as
  parts of the ground-truth box's width and height. Student and teacher need the same anchors and encoding.
- l2: squared distance to the teacher's regression, not bounded, with nu. L2-B pulls to the ground truth, as above.
- Hints are on every level of the neck's maps: the mean of squares over a level's elements, then over levels.
  hints convolves only where channels differ (there it cannot be helped), hints-a always; bilinear interpolation
  where sizes differ. Cells that see padding alone do not count. hint_norm=l1 takes absolute differences, the other
  norm that the paper speaks of.
- Numbers of boxes and positions that sums are divided by are means over the processes.""",
    method="kdbench_papers.chen.method:Chen",
    options=ChenOptions,
    variants={
        "l2": "L2 to the teacher's regressions, not bounded",
        "l2-b": "the teacher-bounded regression",
        "cls": "soft labels, all classes alike",
        "cls-w": "soft labels, the background weighted",
        "hints": "hints, convolved only where channels differ",
        "hints-a": "hints, always convolved",
        "l2-b+cls-w": "both heads' parts, no hints",
        "all": "the paper's method: l2-b, cls-w and hints-a",
    },
    reported=Path(__file__).with_name("reported.csv"),
)
