"""The card of cross-image relational distillation."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from kdbench.api import MethodCard, Options

TERMS = {
    "all": ("kd", "batch", "pixel", "region"),
    "kd": ("kd",),
    "kd+batch": ("kd", "batch"),
    "kd+memory": ("kd", "pixel", "region"),
}
"""Variant -> its terms."""


class CirkdOptions(Options):
    """Options of cross-image relations."""

    variant: Literal["all", "kd", "kd+batch", "kd+memory"] = "all"
    """Terms of the loss."""
    kd_weight: float = Field(default=1.0, ge=0)
    """Weight of the pixels' soft targets."""
    batch_weight: float = Field(default=1.0, ge=0)
    """Weight of the relations between the images of a batch."""
    pixel_weight: float = Field(default=0.1, ge=0)
    """Weight of the relations to the memory of pixels."""
    region_weight: float = Field(default=0.1, ge=0)
    """Weight of the relations to the memory of regions."""
    temperature: float = Field(default=0.1, gt=0, le=100)
    """tau, the temperature of the relations."""
    pixels: int = Field(default=20000, ge=1)
    """Vectors per class in the memory of pixels."""
    regions: int = Field(default=2000, ge=1)
    """Vectors per class in the memory of regions."""

    @property
    def terms(self) -> tuple[str, ...]:
        """Terms of the variant."""
        return TERMS[self.variant]

    @property
    def settled(self) -> frozenset[str]:
        """The sizes of the memories, which mainly affect cost, and options that the variant does not use."""
        idle = {f"{name}_weight" for name in TERMS["all"] if name not in self.terms}
        return frozenset({"pixels", "regions"} | idle | ({"temperature"} if self.variant == "kd" else set()))


CARD = MethodCard(
    name="cirkd",
    title="Cross-Image Relational Knowledge Distillation for Semantic Segmentation",
    authors="Chuanguang Yang, Helong Zhou, Zhulin An, Xue Jiang, Yongjun Xu, Qian Zhang",
    year=2022,
    link="https://arxiv.org/abs/2204.06986",
    bibtex="""@inproceedings{yang2022cross,
  title = {Cross-Image Relational Knowledge Distillation for Semantic Segmentation},
  author = {Yang, Chuanguang and Zhou, Helong and An, Zhulin and Jiang, Xue and Xu, Yongjun and Zhang, Qian},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)},
  year = {2022},
  eprint = {2204.06986},
  archivePrefix = {arXiv}
}""",
    tasks=("segmentation",),
    families=("segmentation",),
    equations="""F: the map that the classifier reads, each pixel of unit length; KL(t || s) throughout.
kd:     1 x mean over pixels of KL of the class probabilities
batch:  1 x mean over pairs of images (i, j) and pixels of i of KL of softmax over pixels of j of F_i . F_j / 0.1
pixel:  0.1 x mean over labelled pixels of KL of softmax over k of F . m_k / 0.1, m_k vectors of a memory of pixels
region: 0.1 x the same with a memory of regions
In the last two the student's pixels go through a projector: 1x1 convolution, BatchNorm, ReLU, 1x1 convolution.
The memories are queues for each class, of 20000 and 2000 unit vectors of the teacher, initially random. Each step
adds, for each image and class, 16 pixels and the mean of the class; then 4096 and 1024, divided by the number of
classes, plus 1 vectors are drawn for each class.

As in the released code: the weights and sizes (20000 is 2000 there for SegFormer); maps of 256 x 256 or more are
average-pooled 4 x 4 in the batch term.

Where we differ:
- The released code takes the 16 pixels from the whole image, because an index is missing; here they are of the
  class.
- The released code has no licence, so this is written from the paper's equations.

Choices:
- The student's map and logits are resized (bilinear) to the teacher's size.
- In distributed training, the memories hold pixels of all processes; the batch term only uses the process's own
  images.
- One pair of images is computed at a time, and recomputed in the backward pass. A memory of pixels takes
  classes x 20000 x channels x 4 bytes: 0.8 GB for 19 classes and 512 channels; `pixels` makes it smaller.""",
    method="kdbench_papers.cirkd.method:CrossImage",
    options=CirkdOptions,
    variants={
        "all": "everything",
        "kd": "only soft targets of the pixels",
        "kd+batch": "soft targets, and relations within the batch",
        "kd+memory": "soft targets, and relations to the memories",
    },
    reported=Path(__file__).with_name("reported.csv"),
)
