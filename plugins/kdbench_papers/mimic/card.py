"""The card of Mimic."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from kdbench.api import MethodCard, Options, families_of

Regions = Literal["proposals", "gt-boxes", "whole-map", "multi-level", "head-outputs", "two-stage"]


class MimicOptions(Options):
    """Options of Mimic."""

    variant: Regions = "proposals"
    """Regions and outputs that the student mimics."""
    weight: float = Field(default=1.0, ge=0)
    """lambda_1, the weight of the mimic loss."""
    pooling: Literal["roi-align", "crop"] = "roi-align"
    """Whether regions are pooled to one size, or cropped to their exact cells."""
    size: int = Field(default=7, ge=1, le=32)
    """roi-align: height and width of a pooled region."""
    proposals: int = Field(default=256, ge=2, le=4096)
    """Regions per image, from the student's proposals; at most half of them are positive."""
    overlap: float = Field(default=0.5, gt=0, le=1)
    """Smallest IoU with a ground-truth box at which a region is positive."""
    stage: float = Field(default=0.25, gt=0, lt=1)
    """two-stage: share of the iterations in which the RoI head does not train."""

    @property
    def settled(self) -> frozenset[str]:
        """Options of regions that the variant does not use, and the size if regions are not pooled."""
        idle = set() if self.variant == "two-stage" else {"stage"}
        if self.variant == "whole-map":
            return frozenset(idle | {"pooling", "size", "proposals", "overlap"})
        idle |= {"size"} if self.pooling == "crop" else set()
        return frozenset(idle | ({"proposals"} if self.variant == "gt-boxes" else set()))


CARD = MethodCard(
    name="mimic",
    title="Mimicking Very Efficient Network for Object Detection",
    authors="Quanquan Li, Shengying Jin, Junjie Yan",
    year=2017,
    link="https://openaccess.thecvf.com/content_cvpr_2017/html/Li_Mimicking_Very_Efficient_CVPR_2017_paper.html",
    bibtex="""@inproceedings{li2017mimicking,
  title = {Mimicking Very Efficient Network for Object Detection},
  author = {Li, Quanquan and Jin, Shengying and Yan, Junjie},
  booktitle = {IEEE Conference on Computer Vision and Pattern Recognition},
  year = {2017}
}""",
    tasks=("detection",),
    families=families_of("detection"),
    attends="the number of regions that cover each cell",
    equations="""L = lambda_1 L_m + L_task, L_m = 1 / (2N) sum_i 1 / m_i || u_i - r(v_i) ||^2 over N regions;
u_i, v_i: the region of the teacher's and the student's map, m_i its number of elements, r a transform.

Regions: 256 per image from the proposals of the student's RPN, positives to negatives 1:1 (the authors' answer).
r: a 3x3 convolution; for a student with half the teacher's resolution, a transposed convolution before it.

Choices where the paper is silent or its single map becomes a pyramid:
- The maps are the neck's. Each region is cut from the level from which the student's own RoI extractor pools it; in
  a dense detector, from the level whose anchors reach the largest IoU with it.
- r is applied to the whole map before cutting, which only differs at a region's border.
- 1:1 as in any R-CNN sampler: the best-scored positives up to half of the regions, filled up with the best-scored
  negatives. N is the mean over the processes.
- crop uses the cells that a box touches, at least one.
- Random negatives of gt-boxes have the boxes' sizes at random places; those that overlap a box are dropped.
- whole-map leaves out the cells that only cover padding.
- head-outputs: half the mean square of the class logits of the student's sampled RoIs, and of the positives'
  regressions of their own class, since the teacher's other regressions were never trained.
- two-stage: as in the paper, the RPN trains with mimic first, then the head also trains on the teacher's outputs.
  The length of the first stage is ours.
- lambda_1 = 1, IoU 0.5 for a positive, and regions of 7 x 7 are ours.
- Dense detectors have no proposals: use gt-boxes or whole-map there.
- A public re-implementation (United-Perception) pools the teacher's proposals, without a transform, so its numbers
  are those of another variant.""",
    method="kdbench_papers.mimic.method:Mimic",
    options=MimicOptions,
    variants={
        "proposals": "regions of the student's proposals",
        "gt-boxes": "ground-truth boxes and as many random boxes (worse in the authors' trials)",
        "whole-map": "every cell of every level (in the paper worse than no mimicking)",
        "multi-level": "each region from every level of the neck, not only from its own",
        "head-outputs": "proposals, and the teacher's class and box outputs as L2 targets in the RoI head",
        "two-stage": "head-outputs after a stage in which only the RPN trains, with mimic",
    },
    reported=Path(__file__).with_name("reported.csv"),
    revision=2,
)
