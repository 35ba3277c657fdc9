"""The card of focal and global distillation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from kdbench.api import Family, MethodCard, Options, families_of

TERMS = {
    "focal+global": frozenset({"foreground", "background", "attention", "global"}),
    "focal": frozenset({"foreground", "background", "attention"}),
    "global": frozenset({"global"}),
    "fg": frozenset({"foreground"}),
    "bg": frozenset({"background"}),
    "no-attention": frozenset({"foreground", "background"}),
}
"""Variant -> its terms."""
WEIGHTS: dict[Family, dict[str, float]] = {
    "dense": {"foreground": 1e-3, "background": 5e-4, "attention": 5e-4, "global": 5e-6},
    "two-stage": {"foreground": 5e-5, "background": 2.5e-5, "attention": 5e-5, "global": 5e-7},
}
WEIGHTS["query"] = WEIGHTS["dense"]
"""Family -> alpha, beta, gamma and lambda of the released code; it has none for DETRs, which use the dense ones."""


class FgdOptions(Options):
    """Options of focal and global distillation."""

    typical: ClassVar[Mapping[str, float]] = {
        f"{name}_weight": value for name, value in WEIGHTS["dense"].items()
    }

    variant: Literal["focal+global", "focal", "global", "fg", "bg", "no-attention"] = "focal+global"
    """Terms of the loss."""
    foreground_weight: float | None = Field(default=None, ge=0)
    """alpha, the weight of the foreground; unset: 0.001, in two-stage detection 5e-5."""
    background_weight: float | None = Field(default=None, ge=0)
    """beta, the weight of the background; unset: 5e-4, in two-stage detection 2.5e-5."""
    attention_weight: float | None = Field(default=None, ge=0)
    """gamma, the weight of the attention; unset: 5e-4, in two-stage detection 5e-5."""
    global_weight: float | None = Field(default=None, ge=0)
    """lambda, the weight of the relations; unset: 5e-6, in two-stage detection 5e-7."""
    temperature: float = Field(default=0.5, gt=0, le=100)
    """T, the temperature of the attention."""

    @property
    def terms(self) -> frozenset[str]:
        """Terms of the variant."""
        return TERMS[self.variant]

    def weights(self, family: Family) -> dict[str, float]:
        """Return the weight of each term: the option's, or the family's if it is unset."""
        given = {name: getattr(self, f"{name}_weight") for name in self.terms}
        return {name: WEIGHTS[family][name] if value is None else value for name, value in given.items()}

    @property
    def settled(self) -> frozenset[str]:
        """Weights of terms that the variant does not have, and the temperature if there is no attention."""
        idle = {f"{name}_weight" for name in TERMS["focal+global"] - self.terms}
        return frozenset(idle | ({"temperature"} if self.variant in ("global", "no-attention") else set()))


CARD = MethodCard(
    name="fgd",
    title="Focal and Global Knowledge Distillation for Detectors",
    authors="Zhendong Yang, Zhe Li, Xiaohu Jiang, Yuan Gong, Zehuan Yuan, Danpei Zhao, Chun Yuan",
    year=2022,
    link="https://arxiv.org/abs/2111.11837",
    bibtex="""@inproceedings{yang2022focal,
  title = {Focal and Global Knowledge Distillation for Detectors},
  author = {Yang, Zhendong and Li, Zhe and Jiang, Xiaohu and Gong, Yuan and Yuan, Zehuan and Zhao, Danpei and
            Yuan, Chun},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)},
  year = {2022},
  eprint = {2111.11837},
  archivePrefix = {arXiv}
}""",
    tasks=("detection",),
    families=families_of("detection"),
    attends="the teacher's attention on each level",
    equations="""A_S = H W softmax over cells of (mean of |F| over channels) / T, A_C = C softmax over channels
L_focal = alpha sum M A_S A_C (F_t - f(F_s))^2 + beta sum B A_S A_C (F_t - f(F_s))^2
        + gamma (|A_S^t - A_S^s| + |A_C^t - A_C^s|)
L_global = lambda sum (R(F_t) - R(F_s))^2, R(F) = F + W2 ReLU(LayerNorm(W1 (sum over cells of softmax(W_k F) F)))
A_S and A_C in the first two terms are the teacher's. M is 1 / number of a box's cells inside the box (the
largest where boxes overlap), B is 1 / number of cells outside of all boxes elsewhere.

As in the released code: sums over channels and cells, divided by the number of images, summed over the levels; f is
a 1x1 convolution if channels differ; each model and level has its own block R, all trained, with W2 = 0 initially;
alpha to lambda and T for each family. Its configs clip gradients at a norm of 35.

Where we differ from it:
- Boxes are divided by the stride. The code scales them by the image's own size although the map covers the padded
  batch, so that they are shifted on padded images.

Choices:
- The constants are for maps of 256 channels: with C channels the terms are C / 256 times as large; attention and
  relations also grow with the number of cells. The released constants for RepPoints are 1.6 times those of dense
  heads; FCOS has the latter, with T = 0.8.
- In published rows the student starts with the teacher's neck and head ("inherit").
- The student's maps are resized (bilinear) to the teacher's size if they differ.""",
    method="kdbench_papers.fgd.method:FocalGlobal",
    options=FgdOptions,
    variants={
        "focal+global": "everything",
        "focal": "foreground, background and attention",
        "global": "only the relations",
        "fg": "only the foreground",
        "bg": "only the background",
        "no-attention": "foreground and background, with equal weights for all cells and channels",
    },
    directional="a box also covers the cells just beyond its right and lower edge, as in the released code",
    reported=Path(__file__).with_name("reported.csv"),
)
