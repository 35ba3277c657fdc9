"""The card of general instances."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from kdbench.api import MethodCard, Options


class GidOptions(Options):
    """Options of general instances."""

    weight: float = Field(default=2.0, ge=0)
    """Weight of the features."""
    count: int = Field(default=10, ge=1)
    """Maximum number of instances per image and level."""
    overlap: float = Field(default=0.3, gt=0, le=1)
    """IoU above which the position with the lower score is dropped."""


CARD = MethodCard(
    name="gid",
    title="General Instance Distillation for Object Detection",
    authors="Xing Dai, Zeren Jiang, Zhao Wu, Yiping Bao, Zhicheng Wang, Si Liu, Erjin Zhou",
    year=2021,
    link="https://arxiv.org/abs/2103.02340",
    bibtex="""@inproceedings{dai2021general,
  title = {General Instance Distillation for Object Detection},
  author = {Dai, Xing and Jiang, Zeren and Wu, Zhao and Bao, Yiping and Wang, Zhicheng and Liu, Si and Zhou, Erjin},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)},
  year = {2021},
  eprint = {2103.02340},
  archivePrefix = {arXiv}
}""",
    tasks=("detection",),
    families=("dense",),
    attends="the cells of the general instances",
    equations="""The score of a position is the largest |sigmoid(t) - sigmoid(s)| over the classes, its box that of
the model with the larger probability for this class. The instances are the best 10 of each level after non-maximum
suppression (IoU 0.3) of these boxes by score.
L = L_task + 2 mean square of (f(F_s) - F_t) at the instances' cells, over all levels

There is no public code of the authors. This is the feature term as in LD's code ("GI imitation"): the maps at
the positions. The paper's RoI-aligned features, relations between instances and responses are not implemented.

Choices:
- f is a 1x1 convolution if channels differ; the student's maps are resized (bilinear) to the teacher's size.
- Instances are determined for each image and level separately, which costs one suppression each.""",
    method="kdbench_papers.gid.method:GeneralInstances",
    options=GidOptions,
    reported=Path(__file__).with_name("reported.csv"),
)
