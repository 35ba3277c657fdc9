"""The card of feature-based distillation."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from kdbench.api import MethodCard, Options, families_of

TERMS = ("features", "attention", "nonlocal")


class FbkdOptions(Options):
    """Options of attention-guided and non-local distillation."""

    variant: Literal["all", "features", "attention", "non-local"] = "all"
    """Terms of the loss."""
    features_weight: float = Field(default=7e-5, ge=0)
    """Weight of the features, weighted by the attention mask."""
    attention_weight: float = Field(default=4e-3, ge=0)
    """Weight of the means over cells and over channels."""
    nonlocal_weight: float = Field(default=7e-5, ge=0)
    """Weight of the relations between cells."""

    @property
    def terms(self) -> tuple[str, ...]:
        """Terms of the variant."""
        return TERMS if self.variant == "all" else (self.variant.replace("-", ""),)

    @property
    def settled(self) -> frozenset[str]:
        """Weights of terms that the variant does not have."""
        return frozenset(f"{name}_weight" for name in TERMS if name not in self.terms)


CARD = MethodCard(
    name="fbkd",
    title="Improve Object Detection with Feature-based Knowledge Distillation: Towards Accurate and Efficient "
    "Detectors",
    authors="Linfeng Zhang, Kaisheng Ma",
    year=2021,
    link="https://openreview.net/forum?id=uKhGRvM8QNH",
    bibtex="""@inproceedings{zhang2021improve,
  title = {Improve Object Detection with Feature-based Knowledge Distillation: Towards Accurate and Efficient
           Detectors},
  author = {Zhang, Linfeng and Ma, Kaisheng},
  booktitle = {International Conference on Learning Representations},
  year = {2021}
}""",
    tasks=("detection",),
    families=families_of("detection"),
    equations="""m = H W softmax over cells of (mean of |F| over channels) / 0.5, averaged over both models, fixed
features:  7e-5 || sqrt(m) (t - A s) ||
attention: 4e-3 (|| mean over cells of t - B that of s || + || mean over channels of t - K that of s ||)
non-local: 7e-5 || N_t(t) - E N_s(s) ||
Norms, not squares, over the whole batch; summed over the levels. A and E are 1x1 convolutions, B is linear, K a
3x3 convolution of one channel; N_s and N_t are non-local blocks (dot product), both trained, whose residual is
initially 0.

As in mmrazor's code (the authors' is in no repository): the weights; the blocks have half of the channels, on the
two finest levels a quarter with keys pooled by 8 and 4; the channel mask is not used. The norms grow with the
square root of the number of images.

Choices:
- A norm has no gradient at 0: 1e-12 is added under the root.
- All levels of the neck count; the published ones are four.
- The student's maps are resized (bilinear) to the teacher's size where they differ.""",
    method="kdbench_papers.fbkd.method:FeatureBased",
    options=FbkdOptions,
    variants={
        "all": "the three terms",
        "features": "the maps under the attention mask",
        "attention": "the means over cells and over channels",
        "non-local": "the relations between cells",
    },
    reported=Path(__file__).with_name("reported.csv"),
)
