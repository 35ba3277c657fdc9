"""The card of structured distillation."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from kdbench.api import TASKS, MethodCard, Options, families_of


class StructuredOptions(Options):
    """Options of structured distillation."""

    variant: Literal[
        "pixel", "pair", "holistic", "local", "pixel+local", "pixel+pair", "pixel+pair+holistic"
    ] = "pixel+pair+holistic"
    """Terms of the loss."""
    weight: float = Field(default=10.0, ge=0)
    """lambda_1, the weight of pixel, pair and local."""
    adversarial_weight: float = Field(default=0.1, ge=0)
    """lambda_2, the weight of holistic."""
    nodes: int | None = Field(default=None, ge=1, le=256)
    """pair: number of rows and columns to which the maps are average-pooled first; unset: every cell is a node."""
    critic_lr: float = Field(default=4e-4, gt=0)
    """Peak learning rate of the critic; it decays with the student's."""
    spectral_norm: bool = False
    """Normalise the critic's convolutions by their largest singular value, in addition to the gradient penalty."""

    @property
    def settled(self) -> frozenset[str]:
        """Options of terms that the variant does not have."""
        terms = set(self.variant.split("+"))
        idle = set() if "holistic" in terms else {"adversarial_weight", "critic_lr", "spectral_norm"}
        idle |= set() if "pair" in terms else {"nodes"}
        return frozenset(idle | ({"weight"} if terms == {"holistic"} else set()))


CARD = MethodCard(
    name="structured",
    title="Structured Knowledge Distillation for Semantic Segmentation",
    authors="Yifan Liu, Ke Chen, Chris Liu, Zengchang Qin, Zhenbo Luo, Jingdong Wang",
    year=2019,
    link="https://arxiv.org/abs/1903.04197",
    bibtex="""@inproceedings{liu2019structured,
  title = {Structured Knowledge Distillation for Semantic Segmentation},
  author = {Liu, Yifan and Chen, Ke and Liu, Chris and Qin, Zengchang and Luo, Zhenbo and Wang, Jingdong},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)},
  pages = {2604--2613},
  year = {2019}
}""",
    tasks=TASKS,
    families=families_of(*TASKS),
    attends="the similarity of every position to the centre",
    equations="""L = L_task + lambda_1 (l_pi + l_pa) - lambda_2 l_ho, lambda_1 = 10, lambda_2 = 0.1.
pixel:    l_pi = mean over pixels of KL(q^t || q^s)
pair:     l_pa = 1 / n^2 sum_ij (a_ij^s - a_ij^t)^2, a_ij the cosine of the features of nodes i and j
holistic: l_ho = E[D(Q^s | I)] - E[D(Q^t | I)], D a critic of the class maps Q that also sees the image I
The critic minimises l_ho + 10 E[(||grad D(Q | I)|| - 1)^2] with maps Q between the two, once per iteration.

Where the released code differs, we follow the paper:
- It sums the cross-entropy over the batch and divides only by H W. Here: the mean over all pixels; and the
  divergence is KL(teacher || student), as in all code (the paper prints it the other way round).
- It max-pools to a few nodes and does not differentiate the norm. Here: every cell is a node (`nodes` pools,
  by averaging) and the cosine is differentiated.
- One released critic sees no image, applies a BatchNorm to logits and has spectral normalisation in addition to
  the penalty. Here: class probabilities and the image, with only the penalty (spectral_norm=true for both).

Choices:
- The critic: five convolutions (64, 128, 256, 512 and 1 channels), self-attention after the third and the
  fourth. The released strides are 2, four times, on maps of 65 x 65; ours are 2, 2, 1, 1 with 3 x 3 kernels
  and padding 1, so that attention still has several cells on maps of 16 x 16, and 1 x 1 works too. Its
  score is the mean of its output. The penalty's gradient is with respect to Q, not I.
- Its optimizer is the released one: SGD, 0.0004, momentum 0.9, weight decay 0.0001, with the student's
  schedule; its loss is not multiplied by lambda_2, unlike in the released code. The paper is silent.
- Features are the neck's: in segmentation the map that the classifier reads, in detection every level (the
  mean over levels). Pixels and the critic need a segmentation model's logits: use variant=pair in detection.
- The student's maps are resized (bilinear) to the teacher's size where they differ.
- Pixels and nodes that only cover padding do not count; the critic sees whole padded images.""",
    method="kdbench_papers.structured.method:Structured",
    options=StructuredOptions,
    variants={
        "pixel": "class probabilities of each pixel",
        "pair": "similarities between nodes of the features (also in detection)",
        "holistic": "a critic compares the class maps of whole images",
        "local": "similarities between neighbouring cells (the paper's alternative to pair, also in detection)",
        "pixel+local": "pixel and local",
        "pixel+pair": "pixel and pair",
        "pixel+pair+holistic": "all three",
    },
    reported=Path(__file__).with_name("reported.csv"),
)
