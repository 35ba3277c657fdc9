"""The card of Hinton's soft targets."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from kdbench.api import TASKS, MethodCard, Options, families_of


class HintonOptions(Options):
    """Options of soft targets."""

    added_later: ClassVar[tuple[str, ...]] = ("teachers", "standardise")

    temperature: float = Field(default=1.0, gt=0, le=100)
    """T, by which both models' logits are divided."""
    matching: bool = False
    """Match the logits themselves, the limit of a high temperature."""
    weight: float = Field(default=1.0, ge=0)
    """a, the weight of the soft targets; the factor T^2 makes their gradients comparable across temperatures."""
    hard: float = Field(default=1.0, ge=0)
    """b, the weight of the student's whole own loss (in detection including boxes and proposals)."""
    normaliser: Literal["foreground", "positions"] = "foreground"
    """Sigmoid heads: mean over positions, weighted by the teacher's foreground probability, or unweighted."""
    teachers: int = Field(default=1, ge=1, le=16)
    """Number of teachers of one model and recipe with different seeds; their mean probability is the target."""
    standardise: bool = False
    """Logit standardization: first scale each position's logits to mean 0 and deviation 1 over the classes."""

    @property
    def settled(self) -> frozenset[str]:
        """The number of teachers, which is expensive to search, and the options that matching does not use."""
        return frozenset({"teachers"} | ({"temperature", "normaliser"} if self.matching else set()))

    @property
    def ensemble(self) -> int:
        """Number of teachers."""
        return self.teachers


CARD = MethodCard(
    name="hinton",
    title="Distilling the Knowledge in a Neural Network",
    authors="Geoffrey Hinton, Oriol Vinyals, Jeff Dean",
    year=2014,
    link="https://arxiv.org/abs/1503.02531",
    bibtex="""@inproceedings{hinton2014distilling,
  title = {Distilling the Knowledge in a Neural Network},
  author = {Hinton, Geoffrey and Vinyals, Oriol and Dean, Jeff},
  booktitle = {NIPS Deep Learning Workshop},
  year = {2014},
  eprint = {1503.02531},
  archivePrefix = {arXiv}
}""",
    tasks=TASKS,
    families=families_of(*TASKS),
    equations="""L = a T^2 KL(softmax(v / T) || softmax(z / T)) + b L_task, v teacher's logits, z student's.
KL and the paper's cross-entropy have the same gradient. Summed over classes, mean over positions.

Choices where the paper (on classification) is silent:
- Two-stage detection: the RoI head's class logits of both models on the student's RoIs.
- Dense detection: the logits of every anchor or point, all levels as one set. A sigmoid head has the
  Bernoulli KL of each class, summed. Nearly all positions are background, so the mean over them is weighted by
  the teacher's largest class probability, whose sum counts as at least 1 (normaliser=positions for the plain
  mean). Dividing the plain sum by that mass instead, as detectors do with their own losses, let the background
  outweigh the task: 26 points of AP50 less in one seed on digits-gfl.
- DETRs: the last decoder layer's logits of every query. Each of the student's queries learns from the teacher's
  query to which it is assigned by Hungarian matching of the predictions, with DETR's own costs and the teacher's
  predictions instead of objects. Sigmoid heads as in dense detection. Denoising queries are left out.
- Segmentation: every pixel; the student's logits are resized (bilinear) to the teacher's size.
- Maps of logits: positions that only cover padding do not count.
- matching: the paper's limit of a high temperature, 1 / (2 C) sum_c of the squared difference of the logits, after
  subtracting their mean over the C classes (sigmoid: 1/8 of the sum).
- teachers=n: the paper's ensemble. The soft targets are the arithmetic mean of the teachers' softened
  probabilities; in two-stage detection all teachers predict on the student's RoIs.
- standardise=true: logit standardization (Sun et al., CVPR 2024), of student and teacher alike, not for sigmoid
  heads. Its published T = 2 and a = 9 are for classification; for detection and segmentation nothing is published.
- T = 1 and a = b = 1 are ours. The paper has T up to 20 in classification. With T = 2 the factor T^2 makes the soft
  targets outweigh a detector's other terms (their gradient on backbone and neck is more than twice the task's), and
  proposals and boxes learn more slowly. Public code for RoI logits has T = 1 (mdistiller's DKD, DeFeat, Chen), and
  so has public code for segmentation (CIRKD).
- For classification the paper found that b should be much smaller than a; a detector's own loss also includes
  boxes, which have no soft targets here, so b stays 1.""",
    method="kdbench_papers.hinton.method:Hinton",
    options=HintonOptions,
    reported=Path(__file__).with_name("reported.csv"),
    revision=2,
)
