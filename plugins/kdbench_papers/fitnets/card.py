"""The card of FitNets."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from kdbench.api import TASKS, MethodCard, Options, families_of

LAMBDA = 4.0
"""Initial value of the paper's lambda."""


class FitnetsOptions(Options):
    """Options of FitNets."""

    variant: Literal["joint", "two-stage"] = "joint"
    """When the student trains on hints."""
    hint: Literal["neck", "backbone", "roi_features"] = "neck"
    """Maps for the hints, on every level; roi_features: pooled on the student's RoIs (two-stage detectors)."""
    hint_weight: float = Field(default=1.0, ge=0)
    """Weight of the hints."""
    kd_weight: float | None = Field(default=None, ge=0)
    """Initial lambda of the soft targets, which falls linearly to a quarter; unset: 0 (joint) or 4 (two-stage)."""
    temperature: float = Field(default=3.0, gt=0, le=100)
    """tau of the soft targets."""
    stage: float = Field(default=0.25, gt=0, lt=1)
    """two-stage: share of the iterations with hints only."""

    @property
    def start(self) -> float:
        """Initial lambda of the soft targets."""
        default = LAMBDA if self.variant == "two-stage" else 0.0
        return default if self.kd_weight is None else self.kd_weight

    @property
    def settled(self) -> frozenset[str]:
        """The stage if the variant has none, and the temperature if there are no soft targets."""
        return frozenset(
            ({"stage"} if self.variant == "joint" else set()) | (set() if self.start else {"temperature"})
        )


CARD = MethodCard(
    name="fitnets",
    title="FitNets: Hints for Thin Deep Nets",
    authors="A. Romero, N. Ballas, S. Ebrahimi Kahou, A. Chassang, C. Gatta, Y. Bengio",
    year=2015,
    link="https://arxiv.org/abs/1412.6550",
    bibtex="""@inproceedings{romero2015fitnets,
  title = {{FitNets}: Hints for Thin Deep Nets},
  author = {Romero, Adriana and Ballas, Nicolas and Kahou, Samira Ebrahimi and Chassang, Antoine and
            Gatta, Carlo and Bengio, Yoshua},
  booktitle = {International Conference on Learning Representations},
  year = {2015},
  eprint = {1412.6550},
  archivePrefix = {arXiv}
}""",
    tasks=TASKS,
    families=families_of(*TASKS),
    equations="""Hints: L_HT = 1/2 || u(x) - r(v(x)) ||^2, u teacher's map, v student's, r a regressor.
Soft targets: L_KD = L_task + lambda H(P_T^tau, P_S^tau), tau = 3, lambda falling linearly from 4.

Choices where the paper (on classification) is silent:
- The square is averaged over all elements of a level that cover an image, and then over the levels of the maps.
- r is always a 1x1 convolution, followed by bilinear interpolation if the maps differ in size; the paper has a
  kernel as large as the difference, which would depend on the image.
- H minus the teacher's entropy (the same gradient), without T^2, as in the paper; heads as in `hinton`.
- lambda ends at a quarter of its initial value. The end, the stage's length and the weight of the hints are ours.
- joint is usual in dense prediction: task and hints together, with soft targets only if kd_weight is set.""",
    method="kdbench_papers.fitnets.method:Fitnets",
    options=FitnetsOptions,
    variants={
        "joint": "task, hints and (if weighted) soft targets together throughout",
        "two-stage": "the paper's: first only hints, then task and soft targets without hints",
    },
    reported=Path(__file__).with_name("reported.csv"),
)
