"""The card of knowledge review."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from kdbench.api import TASKS, MethodCard, Options, families_of


class ReviewkdOptions(Options):
    """Options of knowledge review."""

    variant: Literal["review", "plain", "no-hcl"] = "review"
    """How levels are compared."""
    weight: float = Field(default=1.0, ge=0)
    """Weight of the sum over the levels."""
    channels: int = Field(default=256, ge=1)
    """Maximum number of channels inside the fusion."""

    @property
    def settled(self) -> frozenset[str]:
        """The fusion's channels if the variant has no fusion."""
        return frozenset({"channels"} if self.variant == "plain" else ())


CARD = MethodCard(
    name="reviewkd",
    title="Distilling Knowledge via Knowledge Review",
    authors="Pengguang Chen, Shu Liu, Hengshuang Zhao, Jiaya Jia",
    year=2021,
    link="https://arxiv.org/abs/2104.09044",
    bibtex="""@inproceedings{chen2021distilling,
  title = {Distilling Knowledge via Knowledge Review},
  author = {Chen, Pengguang and Liu, Shu and Zhao, Hengshuang and Jia, Jiaya},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)},
  year = {2021},
  eprint = {2104.09044},
  archivePrefix = {arXiv}
}""",
    tasks=TASKS,
    families=families_of(*TASKS),
    equations="""From the coarsest level up: x = norm(1x1(F_s)). With a coarser residual y, upsampled (nearest), and
(a, b) = sigmoid(1x1([x, y])), x := a x + b y. norm(3x3(x)) is compared with the teacher's map; x is the residual
of the next finer level.
L = L_task + w sum over levels of [mse + 1/2 mse_4 + 1/4 mse_2 + 1/8 mse_1] / (sum of these factors), mse_l of
l x l average-pooled cells. Sizes that are not below the map's height are left out, and the next has their factor.

As in the released code: the fusion's convolutions have no bias and are initialised kaiming uniform with a = 1; its
BatchNorm trains with the student; w = 1 for Faster R-CNN and RetinaNet from ResNet-101 to ResNet-18 and -50, 2 to
MobileNetV2.

Choices:
- The maps are all levels of the neck. A segmentation model has only one, so there is nothing to fuse.
- The inner layers have at most as many channels as the teacher's maps.
- If a level is one cell of one image, the norm uses its running statistics.
- There are no published numbers here, since the paper's tables were not read.""",
    method="kdbench_papers.reviewkd.method:Reviewkd",
    options=ReviewkdOptions,
    variants={
        "review": "fusion and the hierarchical loss",
        "plain": "each level by itself, mean square",
        "no-hcl": "fusion and the mean square",
    },
)
