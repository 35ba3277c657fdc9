"""The card of localization distillation."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from kdbench.api import MethodCard, Options


class LdOptions(Options):
    """Options of localization distillation."""

    variant: Literal["kd+main+vlr", "main", "main+vlr", "kd"] = "kd+main+vlr"
    """Terms of the loss."""
    main_weight: float = Field(default=0.25, ge=0)
    """Weight of the boxes at the positives."""
    vlr_weight: float = Field(default=0.25, ge=0)
    """Weight of the boxes in the valuable localisation region."""
    kd_weight: float = Field(default=10.0, ge=0)
    """Weight of the classes at the positives."""
    temperature: float = Field(default=10.0, gt=0, le=100)
    """T of the boxes' bins."""
    kd_temperature: float = Field(default=2.0, gt=0, le=100)
    """T of the classes."""

    @property
    def terms(self) -> frozenset[str]:
        """Terms of the variant."""
        return frozenset(self.variant.split("+"))

    @property
    def settled(self) -> frozenset[str]:
        """Options that the variant does not use."""
        idle = {f"{name}_weight" for name in {"kd", "main", "vlr"} - self.terms}
        return frozenset(
            idle
            | (set() if "kd" in self.terms else {"kd_temperature"})
            | ({"temperature"} if self.terms == {"kd"} else set())
        )


CARD = MethodCard(
    name="ld",
    title="Localization Distillation for Dense Object Detection",
    authors="Zhaohui Zheng, Rongguang Ye, Ping Wang, Dongwei Ren, Wangmeng Zuo, Qibin Hou, Ming-Ming Cheng",
    year=2022,
    link="https://arxiv.org/abs/2102.12252",
    bibtex="""@inproceedings{zheng2022localization,
  title = {Localization Distillation for Dense Object Detection},
  author = {Zheng, Zhaohui and Ye, Rongguang and Wang, Ping and Ren, Dongwei and Zuo, Wangmeng and Hou, Qibin and
            Cheng, Ming-Ming},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)},
  year = {2022},
  eprint = {2102.12252},
  archivePrefix = {arXiv}
}""",
    tasks=("detection",),
    families=("dense",),
    attends="the weights of the valuable localisation region",
    equations="""D_i = mean over 4 sides of T^2 KL(softmax(t / T) || softmax(s / T)) over the n + 1 bins, T = 10
main: 0.25 / (n + 1) sum over positives of w_i D_i, w_i the student's largest class probability
vlr:  0.25 / (n + 1) sum over the region of v_i D_i / 4
kd:   10 / classes, sum over levels of the mean over their positives of T^2 KL(t || s) over the classes, T = 2
The region consists of the anchors i with t_g / 4 <= DIoU(i, g) < t_g for some box g, t_g the threshold of ATSS
(mean plus deviation of the IoU of its 9 nearest anchors on each level); v_i is the largest IoU(i, g) with these
boxes.

As in the released code: the weights above; bins and classes are averaged (hence n + 1 and the number of classes);
main and vlr are sums that are not divided by the number of positives; the classes have a softmax although the
head's are independent; kd has no term in the region.

Choices:
- It needs heads that give a distribution for each side of a box, as GFL's do; others are refused. The authors give
  RetinaNet, FCOS and ATSS such a branch first.""",
    method="kdbench_papers.ld.method:LocalizationDistillation",
    options=LdOptions,
    variants={
        "kd+main+vlr": "classes and boxes: the paper's",
        "main": "boxes at the positives",
        "main+vlr": "boxes at the positives and in the region",
        "kd": "classes at the positives",
    },
    reported=Path(__file__).with_name("reported.csv"),
)
