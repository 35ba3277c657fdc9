"""The card of cross-head distillation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from kdbench.api import MethodCard, Options


class CrosskdOptions(Options):
    """Options of cross-head distillation."""

    typical: ClassVar[Mapping[str, float]] = {"box_weight": 4.0}

    variant: Literal["both", "class", "box", "direct"] = "both"
    """Terms of the loss; direct: on the student's own predictions instead of the cross-head ones."""
    at: int | None = Field(default=None, ge=1)
    """k, the convolution after which the teacher's head continues; unset: three quarters of their number."""
    class_weight: float = Field(default=1.0, ge=0)
    """Weight of the classes."""
    box_weight: float | None = Field(default=None, ge=0)
    """Weight of the boxes; unset: 4 for distributions (GFL), 1 for boxes."""

    @property
    def terms(self) -> frozenset[str]:
        """Terms of the variant."""
        return frozenset({self.variant} if self.variant in ("class", "box") else {"class", "box"})

    @property
    def settled(self) -> frozenset[str]:
        """Options that the variant does not use."""
        idle = {f"{name}_weight" for name in {"class", "box"} - self.terms}
        return frozenset(idle | ({"at"} if self.variant == "direct" else set()))


CARD = MethodCard(
    name="crosskd",
    title="CrossKD: Cross-Head Knowledge Distillation for Dense Object Detection",
    authors="Jiabao Wang, Yuming Chen, Zhaohui Zheng, Xiang Li, Ming-Ming Cheng, Qibin Hou",
    year=2024,
    link="https://arxiv.org/abs/2306.11369",
    bibtex="""@inproceedings{wang2024crosskd,
  title = {{CrossKD}: Cross-Head Knowledge Distillation for Dense Object Detection},
  author = {Wang, Jiabao and Chen, Yuming and Zheng, Zhaohui and Li, Xiang and Cheng, Ming-Ming and Hou, Qibin},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)},
  year = {2024},
  eprint = {2306.11369},
  archivePrefix = {arXiv}
}""",
    tasks=("detection",),
    families=("dense",),
    equations="""The student's maps after the k-th convolution and norm of each branch of its head are scaled,
channel by channel, to the teacher's mean and deviation. They go through the teacher's activation, its remaining
convolutions and its predictors, all frozen. The results, p^ and r^, are compared with the teacher's own p and r
wherever the head is trained:
class: a / N sum of BCE(p^, sigmoid(p)) |sigmoid(p^) - sigmoid(p)|, N the number of positives
box:   b / sum(w) sum of w mean over the 4 sides of KL(r || r^) of the bins (GFL), or b / N sum of w (1 - GIoU) of
       the decoded boxes; w the teacher's largest class probability

As in the released code: a = 1, b = 4 for GFL and 1 for RetinaNet, k = 3 of 4.

Where we differ:
- FCOS: its code has the IoU without the enclosing box, a = 0.4, b = 0.75 and k = 2. Give
  class_weight=0.4,box_weight=0.75,at=2; the GIoU remains.
- If the heads' channels differ, a 1x1 convolution converts the student's maps to the teacher's channels; all
  published pairs have 256.
- The released code is not free to use, so this is written from the paper's equations.""",
    method="kdbench_papers.crosskd.method:CrossHead",
    options=CrosskdOptions,
    variants={
        "both": "classes and boxes of the cross-head predictions",
        "class": "classes of the cross-head predictions",
        "box": "boxes of the cross-head predictions",
        "direct": "classes and boxes of the student's own predictions, the paper's baseline",
    },
    reported=Path(__file__).with_name("reported.csv"),
)
