"""The card of binary classification and IoU-based localisation distillation."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from kdbench.api import MethodCard, Options


class BckdOptions(Options):
    """Options of cross-task consistent distillation."""

    variant: Literal["both", "class", "box"] = "both"
    """Terms of the loss."""
    class_weight: float = Field(default=1.0, ge=0)
    """a, the weight of the classes."""
    box_weight: float = Field(default=4.0, ge=0)
    """b, the weight of the boxes."""

    @property
    def settled(self) -> frozenset[str]:
        """The weight of the term that the variant does not have."""
        return frozenset({"class": {"box_weight"}, "box": {"class_weight"}}.get(self.variant, set()))


CARD = MethodCard(
    name="bckd",
    title="Bridging Cross-task Protocol Inconsistency for Distillation in Dense Object Detection",
    authors="Longrong Yang, Xianpan Zhou, Xuewei Li, Liang Qiao, Zheyang Li, Ziwei Yang, Gaoang Wang, Xi Li",
    year=2023,
    link="https://arxiv.org/abs/2308.14286",
    bibtex="""@inproceedings{yang2023bridging,
  title = {Bridging Cross-task Protocol Inconsistency for Distillation in Dense Object Detection},
  author = {Yang, Longrong and Zhou, Xianpan and Li, Xuewei and Qiao, Liang and Li, Zheyang and Yang, Ziwei and
            Wang, Gaoang and Li, Xi},
  booktitle = {IEEE/CVF International Conference on Computer Vision (ICCV)},
  year = {2023},
  eprint = {2308.14286},
  archivePrefix = {arXiv}
}""",
    tasks=("detection",),
    families=("dense",),
    equations="""p = sigmoid of the class logits, independently for each class; sums over all anchors in training.
class: a / N sum of BCE(s, p_t) |p_t - p_s| over anchors and classes, a = 1
box:   b / N sum of w (1 - GIoU(box_s, box_t)) over anchors, w the largest |p_t - p_s| of the classes, b = 4
N is the number of positives, the mean over all processes.

As in the released code, except for batches without positives: it drops the terms there; here N counts as 1.

Choices:
- Boxes are those of each anchor or point as decoded by the head: GFL, RetinaNet and FCOS. All published rows are
  for GFL.
- Heads whose classes exclude each other (softmax) are refused.""",
    method="kdbench_papers.bckd.method:Consistent",
    options=BckdOptions,
    variants={
        "both": "classes and boxes",
        "class": "only classes",
        "box": "only boxes",
    },
    reported=Path(__file__).with_name("reported.csv"),
)
