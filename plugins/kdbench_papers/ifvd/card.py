"""The card of intra-class feature variation distillation."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from kdbench.api import MethodCard, Options


class IfvdOptions(Options):
    """Options of feature variation."""

    variant: Literal["ifv", "ifv+pixel"] = "ifv"
    """Terms of the loss."""
    weight: float = Field(default=200.0, ge=0)
    """lambda, the weight of the variation loss."""
    pixel_weight: float = Field(default=1.0, ge=0)
    """Weight of the pixels' soft targets."""

    @property
    def settled(self) -> frozenset[str]:
        """The weight of the term that the variant does not have."""
        return frozenset({"pixel_weight"} if self.variant == "ifv" else ())


CARD = MethodCard(
    name="ifvd",
    title="Intra-class Feature Variation Distillation for Semantic Segmentation",
    authors="Yukang Wang, Wei Zhou, Tao Jiang, Xiang Bai, Yongchao Xu",
    year=2020,
    link="https://github.com/YukangWang/IFVD",
    bibtex="""@inproceedings{wang2020intra,
  title = {Intra-class Feature Variation Distillation for Semantic Segmentation},
  author = {Wang, Yukang and Zhou, Wei and Jiang, Tao and Bai, Xiang and Xu, Yongchao},
  booktitle = {European Conference on Computer Vision (ECCV)},
  year = {2020}
}""",
    tasks=("segmentation",),
    families=("segmentation",),
    equations="""mu_c = mean feature of the pixels of class c in an image; v_p = cos(f_p, mu_c), c the class of p
ifv:   L = lambda mean over all pixels of (v_p^s - v_p^t)^2
pixel: the mean over pixels of KL(t || s), as in `structured`

As in the released code: labels are resized (nearest) to the map, ignored pixels add 0 but count in the mean,
and prototypes are differentiated. lambda = 200 is its weight together with soft targets and an adversary, which the
published numbers also have; CIRKD's re-run has 20 with soft targets of weight 1 and an adversary.

Choices:
- The map is the one that the classifier reads; the student's is resized (bilinear) to the teacher's size. There is
  no adapter, since channels may differ.
- The adversary is not part of this method; see `structured[variant=holistic]`.
- The weight 1 of the soft targets is CIRKD's. The released 10 applies to a mean over classes and images too.""",
    method="kdbench_papers.ifvd.method:FeatureVariation",
    options=IfvdOptions,
    variants={
        "ifv": "the variation within the classes",
        "ifv+pixel": "with soft targets of each pixel",
    },
    reported=Path(__file__).with_name("reported.csv"),
)
