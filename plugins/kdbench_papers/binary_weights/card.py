"""The card of Binary-Weight-Networks."""

from __future__ import annotations

from kdbench.api import TASKS, MethodCard, Model, Options, Pair

EDITS = {
    "backbone.conv_cfg": {"type": "kdbench_papers.binary_weights.layers.convolution"},
    "backbone.norm_eval": False,
    "backbone.frozen_stages": -1,
}
"""All of the backbone trains, its statistics too: signs give other activations than the teacher's weights."""


class BinaryOptions(Options):
    """It has none."""


def student(_options: Options, pair: Pair) -> Model:
    """Return the teacher's model with binary convolutions in its backbone."""
    return pair.teacher.model_copy(update={"edits": pair.teacher.edits | EDITS, "sha256": None})


CARD = MethodCard(
    name="binary-weights",
    title="XNOR-Net: ImageNet Classification Using Binary Convolutional Neural Networks",
    authors="Mohammad Rastegari, Vicente Ordonez, Joseph Redmon, Ali Farhadi",
    year=2016,
    link="https://arxiv.org/abs/1603.05279",
    bibtex="""@inproceedings{rastegari2016xnor,
  title = {{XNOR-Net}: {ImageNet} Classification Using Binary Convolutional Neural Networks},
  author = {Rastegari, Mohammad and Ordonez, Vicente and Redmon, Joseph and Farhadi, Ali},
  booktitle = {European Conference on Computer Vision},
  year = {2016}
}""",
    tasks=TASKS,
    families=("two-stage", "dense", "segmentation"),
    equations="""A compression: L = L_task, and the student is the teacher's network with binary weights,
the paper's Binary-Weight-Network. Each filter W of n weights is replaced in every forward pass by V = alpha B,
B = sign(W), alpha = |W|_1 / n,
and the real W is what the optimizer updates. Gradients go straight through the sign where |W| <= 1, and through
alpha: dC/dW_i = sign(W_i) / n sum_j dC/dV_j sign(W_j) + alpha dC/dV_i [|W_i| <= 1].

It starts from the trained teacher's weights and trains by the student's recipe, as long as the plain student.

Choices:
- The network is the teacher's, not the student's: its multiply-adds are the teacher's, and become additions in the
  binary layers. So it is no row at equal multiply-adds; what it saves are the bits of its weights.
- Bits: 1 a binary weight, 32 a scale, 32 any other parameter.
- All convolutions of the backbone are binary but the first; neck and heads, which have the last layers, stay real.
- The paper trains from scratch; here the real W start as the teacher's weights, with the same recipe as every row.
- The gradient printed in the paper, (1 / n + alpha [|W_i| < 1]) dC/dV_i, is not that of alpha B; the one above is.
- The authors' code also centres W over its input channels and clamps it to [-1, 1] after each step. The paper's
  equations have neither, and neither is done here.
- Backbones are those of mmdet and mmseg that take a conv_cfg (ResNet and its kin, MobileNetV2).""",
    method="kdbench_papers.binary_weights.method:BinaryWeights",
    options=BinaryOptions,
    compression=student,
)
