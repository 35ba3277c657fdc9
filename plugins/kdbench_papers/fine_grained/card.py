"""The card of fine-grained feature imitation."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from kdbench.api import MethodCard, Options, families_of

LETTERS = {
    "I": "imitation",
    "F": "full",
    "G": "gt-boxes",
    "D": "logits",
    "ID": "imitation+logits",
}
"""Letters of the variants in the paper's Table 1."""
HELD = 400
"""Iterations in which the released code holds its loss at 0."""
HELD_SHARE = 10
"""The loss is held at 0 for at most 1 / HELD_SHARE of the training."""


class FineGrainedOptions(Options):
    """Options of fine-grained imitation."""

    variant: Literal["imitation", "full", "gt-boxes", "logits", "imitation+logits"] = "imitation"
    """Cells or logits that the student imitates; also accepts the paper's letters I, F, G, D and ID."""
    weight: float = Field(default=0.01, ge=0)
    """lambda, the weight of the imitation."""
    channels: int | None = Field(default=512, ge=1)
    """Number of channels for which lambda is meant: a sum over C channels is scaled by channels / C; unset: 1."""
    threshold: float = Field(default=0.5, ge=0, lt=1)
    """psi: share of a box's largest IoU that an anchor must exceed."""
    held: int | None = Field(default=None, ge=0)
    """Iterations in which the imitation loss is held at 0; unset: 400, at most a tenth of the training."""
    scale: float = Field(default=1.0, gt=0, le=10)
    """gt-boxes: factor on the boxes' sides, around their centres."""
    relu: bool | None = None
    """Whether a ReLU follows the adaptation's convolution; unset: if the teacher's map has no negative values."""
    logits_weight: float = Field(default=1.0, ge=0)
    """Variants with logits: weight of the soft targets."""
    temperature: float = Field(default=1.0, gt=0, le=100)
    """Variants with logits: T of the soft targets."""

    @field_validator("variant", mode="before")
    @classmethod
    def _spelled_out(cls, value: Any) -> Any:
        return LETTERS.get(value, value) if isinstance(value, str) else value

    @property
    def imitates(self) -> bool:
        """Whether the variant imitates maps."""
        return self.variant != "logits"

    @property
    def softens(self) -> bool:
        """Whether the variant has soft targets."""
        return "logits" in self.variant

    @property
    def settled(self) -> frozenset[str]:
        """Options of the imitation or the soft targets that the variant does not use."""
        idle = set() if self.softens else {"logits_weight", "temperature"}
        if not self.imitates:
            idle |= {"weight", "channels", "held", "relu"}
        if self.variant != "gt-boxes":
            idle.add("scale")
        return frozenset(idle if "imitation" in self.variant else {*idle, "threshold"})

    def hold(self, iterations: int) -> int:
        """Return how many iterations of a training hold the imitation loss at 0."""
        return min(HELD, iterations // HELD_SHARE) if self.held is None else self.held


CARD = MethodCard(
    name="fine-grained",
    title="Distilling Object Detectors with Fine-grained Feature Imitation",
    authors="Tao Wang, Li Yuan, Xiaopeng Zhang, Jiashi Feng",
    year=2019,
    link="https://arxiv.org/abs/1906.03609",
    bibtex="""@inproceedings{wang2019distilling,
  title = {Distilling Object Detectors with Fine-grained Feature Imitation},
  author = {Wang, Tao and Yuan, Li and Zhang, Xiaopeng and Feng, Jiashi},
  booktitle = {IEEE Conference on Computer Vision and Pattern Recognition},
  year = {2019},
  eprint = {1906.03609},
  archivePrefix = {arXiv}
}""",
    tasks=("detection",),
    families=families_of("detection"),
    attends="the imitation region",
    equations="""L = L_task + lambda L_im, L_im = 1 / (2 N_p) sum_ij I_ij sum_c (f(s)_ijc - t_ijc)^2, N_p = sum I;
s, t: student's and teacher's map, f an adaptation. I is the imitation region: for each ground-truth box, M is
its largest IoU with any anchor, and the region has all locations with an anchor of IoU > psi M.
lambda = 0.01, psi = 0.5. `kdbench show-mask fine-grained --dataset ...` draws the region.

Choices where the paper is silent, differs from its released code, or its single map becomes a pyramid:
- The maps are the neck's. The anchors are those of the student's own head (two-stage: its RPN), including those
  that cross the border.
- Pyramid: a box makes its region on one level, that whose anchors reach the largest IoU with it (the finest in
  case of a tie), and M is computed there. N_p is summed over levels and batch, and averaged over the processes
  (released: of one process).
- mmdet centres anchors on the upper left corner of their cell, so regions are up to half a cell lower and
  further right than their boxes.
- Anchor-free heads: a point counts as one anchor, a square of 8 strides around it.
- IoU > psi M is strict, as in the released code, so psi = 0 selects the locations with an anchor that overlaps a
  box; the paper says all locations, which is full here.
- lambda: the released code has .01 with the sum over the 512 channels of VGG's conv5 or the 1024 of ResNet's res4.
  A neck has 256, a small one 48: the sum is scaled by 512 / C (channels=null: not scaled).
- f: one 3x3 convolution per level, with a ReLU as in the released code if the teacher's map has no negative values,
  as after a ReLU. A neck's map has some, which a ReLU could not reach (DeFeat's public code leaves it out too).
  Weights are normal with standard deviation 1e-4, truncated at two of these; biases are 0 (released: torch's
  default).
- The 3x3 convolution reads one cell around the region, so the student gets gradients there too.
- Maps of another size: the teacher's is resized (bilinear) to the student's, to which the anchors belong.
- held: the released code holds the loss at 0 for the first 400 iterations, to let the student settle. Short
  schedules would lose most of their training, so it is a tenth of the iterations if that is less. Soft
  targets are not held.
- gt-boxes: every cell that a box touches, on the box's level. The paper's Table 1 has scaled boxes but does not say
  by how much; see `scale`.
- full: every cell that covers an image, not those in the padding.
- logits: soft targets as in `hinton`, T = 1 and weight 1; the paper does not give them.""",
    method="kdbench_papers.fine_grained.method:FineGrained",
    options=FineGrainedOptions,
    variants={
        "imitation": "I: the region around each box that its anchors define",
        "full": "F: every cell of every level (in the paper worse than no imitation)",
        "gt-boxes": "G: the cells in the boxes",
        "logits": "D: soft targets on the class logits, no imitation",
        "imitation+logits": "ID: I and D together (in the paper less than I)",
    },
    reported=Path(__file__).with_name("reported.csv"),
    revision=2,
)
