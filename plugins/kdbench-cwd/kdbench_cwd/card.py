"""The card of channel-wise distillation: its paper, options, equations and choices."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from kdbench.api import TASKS, MethodCard, Options, families_of


class CwdOptions(Options):
    """Options of channel-wise distillation."""

    added_later: ClassVar[tuple[str, ...]] = ("normalise",)

    where: Literal["neck", "logits"] = "neck"
    """Maps to compare: those that the heads read (every family), or class maps (segmentation, dense detection)."""
    temperature: float = Field(default=1.0, gt=0, le=100)
    """T, by which the maps are divided."""
    weight: float = Field(default=5.0, ge=0)
    """Weight of each level."""
    normalise: Literal["softmax", "l2", "none"] = "softmax"
    """Normalisation of a channel: softmax over its positions, division by its L2 norm, or none."""

    @property
    def settled(self) -> frozenset[str]:
        """The temperature if there is no softmax."""
        return frozenset() if self.normalise == "softmax" else frozenset({"temperature"})


CARD = MethodCard(
    name="cwd",
    title="Channel-Wise Knowledge Distillation for Dense Prediction",
    authors="Changyong Shu, Yifan Liu, Jianfei Gao, Zheng Yan, Chunhua Shen",
    year=2021,
    link="https://arxiv.org/abs/2011.13256",
    bibtex="""@inproceedings{shu2021channel,
  title = {Channel-Wise Knowledge Distillation for Dense Prediction},
  author = {Shu, Changyong and Liu, Yifan and Gao, Jianfei and Yan, Zheng and Shen, Chunhua},
  booktitle = {IEEE/CVF International Conference on Computer Vision (ICCV)},
  pages = {5311--5320},
  year = {2021}
}""",
    tasks=TASKS,
    families=families_of(*TASKS),
    equations="""p_c = softmax over the positions of y_c / T: where in the image channel c responds.
L = L_task + w T^2 / (N C) sum over images and channels of KL(p_c of the teacher || p_c of the student)

As in the authors' code:
- Detection: the levels of the neck, each with the weight 5, summed. Segmentation: the class maps, with the
  weight 5 on Cityscapes: use where=logits there. T = 1 in both.
- A 1x1 convolution converts the student's maps to the teacher's channels if they differ; it trains with the student
  and is discarded. Ours has no bias, which would have no effect.
- The code includes the teacher's entropy (cross-entropy), which gives the same gradient.

Choices:
- The default is the neck in segmentation too (the map that the classifier reads), so that a selector means
  the same everywhere.
- where=logits in dense detection: the class maps of every anchor, each a channel. A two-stage detector classifies
  regions, whose logits are not maps, so it is refused.
- The student's maps are resized (bilinear) to the teacher's size if they differ.
- All levels of the neck count; the code leaves out the coarsest of RetinaNet's five.
- The defaults are those of the authors' detection code (w 5, T 1 on four levels). mmrazor has w 10 on five levels;
  for segmentation the authors' checkpoints have w 3, T 5 on the logits, CIRKD's script w 3, T 4.
- Positions that only cover padding are left out of the softmax.
- normalise=l2 and none are the alternatives in the paper's ablation: squared differences, summed over the positions
  of channels of length 1, or averaged over those of unchanged maps; the weight is that of the softmax.""",
    method="kdbench_cwd.method:ChannelWise",
    options=CwdOptions,
    reported=Path(__file__).with_name("reported.csv"),
)
