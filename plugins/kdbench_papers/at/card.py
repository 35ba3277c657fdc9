"""The card of attention transfer."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from kdbench.api import TASKS, MethodCard, Options, families_of


class AtOptions(Options):
    """Options of attention transfer."""

    variant: Literal["neck", "backbone", "logits"] = "neck"
    """The maps whose attention is transferred."""
    weight: float = Field(default=1000.0, ge=0)
    """beta, the weight of each map."""


CARD = MethodCard(
    name="at",
    title="Paying More Attention to Attention: Improving the Performance of Convolutional Neural Networks via "
    "Attention Transfer",
    authors="Sergey Zagoruyko, Nikos Komodakis",
    year=2017,
    link="https://arxiv.org/abs/1612.03928",
    bibtex="""@inproceedings{zagoruyko2017paying,
  title = {Paying More Attention to Attention: Improving the Performance of Convolutional Neural Networks via
           Attention Transfer},
  author = {Zagoruyko, Sergey and Komodakis, Nikos},
  booktitle = {International Conference on Learning Representations},
  year = {2017},
  eprint = {1612.03928},
  archivePrefix = {arXiv}
}""",
    tasks=TASKS,
    families=families_of(*TASKS),
    attends="both models' attention on the finest map",
    equations="""A = mean over channels of F^2, flattened, divided by its L2 norm over the positions.
L = L_task + beta sum over maps of the mean over images and positions of (A_s - A_t)^2

The paper has the norm of the difference; the mean square and beta = 1000 are the released code's.

Choices:
- The default is every level of the neck; `backbone` is the paper's, the last map of each stage; `logits` are the
  class maps of a segmentation model.
- Maps of norm 1 have a mean square difference of at most 2 / (H W), so the term is small on large maps. CIRKD's
  re-run in segmentation has beta = 10000 on the map that the classifier reads, in addition to soft targets.
- The student's maps are resized (bilinear) to the teacher's size. Nothing is adapted: channels may differ.""",
    method="kdbench_papers.at.method:AttentionTransfer",
    options=AtOptions,
    variants={
        "neck": "the maps that the heads read",
        "backbone": "the last map of each stage, as in the paper",
        "logits": "the class maps of a segmentation model",
    },
    reported=Path(__file__).with_name("reported.csv"),
)
