"""The card of decoupled features."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from kdbench.api import MethodCard, Options, families_of


class DefeatOptions(Options):
    """Options of decoupled features."""

    variant: Literal["both", "neck", "head", "fg", "bg"] = "both"
    """Terms of the loss."""
    foreground_weight: float = Field(default=3.0, ge=0)
    """Weight of the neck's cells that belong to objects."""
    background_weight: float = Field(default=12.0, ge=0)
    """Weight of the neck's other cells."""
    head_weight: float = Field(default=2.0, ge=0)
    """Weight of the classes, both for regions with an object and for regions without."""
    temperature: float = Field(default=1.0, gt=0, le=100)
    """T, the temperature of the classes."""

    @property
    def settled(self) -> frozenset[str]:
        """Options that the variant does not use."""
        idle = {
            "neck": {"head_weight", "temperature"},
            "head": {"foreground_weight", "background_weight"},
            "fg": {"background_weight"},
            "bg": {"foreground_weight"},
        }
        return frozenset(idle.get(self.variant, set()))


CARD = MethodCard(
    name="defeat",
    title="Distilling Object Detectors via Decoupled Features",
    authors="Jianyuan Guo, Kai Han, Yunhe Wang, Han Wu, Xinghao Chen, Chunjing Xu, Chang Xu",
    year=2021,
    link="https://arxiv.org/abs/2103.14475",
    bibtex="""@inproceedings{guo2021distilling,
  title = {Distilling Object Detectors via Decoupled Features},
  author = {Guo, Jianyuan and Han, Kai and Wang, Yunhe and Wu, Han and Chen, Xinghao and Xu, Chunjing and
            Xu, Chang},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)},
  year = {2021},
  eprint = {2103.14475},
  archivePrefix = {arXiv}
}""",
    tasks=("detection",),
    families=families_of("detection"),
    attends="the cells of objects",
    equations="""neck: mean over levels of [3 mean over objects of (f(s) - t)^2 / 2 + 12 the same over other cells]
head: 2 mean over regions with an object of T^2 KL(t || s) of the classes + 2 the same over regions without
f is a 3x3 convolution with initial weights near 0.

As in the released code: the weights, T = 1 and the initialisation of f; a box's cells are on the level of its scale
(floor(log2(sqrt((w + 1)(h + 1)) / 56)) from stride 4), from int(x1 / stride) up to but excluding int(x2 / stride).
The weights are those of its VOC config; those for COCO are not released. Its neck config disables the head's part.

Choices:
- The regions are the student's RoIs (the code's SampleSTU); the code's default are the teacher's.
- A dense detector has no such regions: there `both` is only the neck, and `head` is refused.""",
    method="kdbench_papers.defeat.method:DecoupledFeatures",
    options=DefeatOptions,
    variants={
        "both": "the neck, and in two-stage detectors the head",
        "neck": "only the neck",
        "head": "only the classes of regions",
        "fg": "only the foreground part of `both`: cells of objects, and regions with an object",
        "bg": "only the background part of `both`: other cells, and regions without an object",
    },
    directional="a box's coordinates are rounded towards the upper left, as in the released code",
    reported=Path(__file__).with_name("reported.csv"),
)
