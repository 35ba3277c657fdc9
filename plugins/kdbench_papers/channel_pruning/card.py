"""The card of channel pruning."""

from __future__ import annotations

from pydantic import Field

from kdbench.api import TASKS, MethodCard, Model, Options, Pair


class PruningOptions(Options):
    """Options of channel pruning."""

    images: int = Field(default=100, ge=1, le=5000)
    """Training images that selection and reconstruction look at; 5000 in the paper's code."""
    positions: int = Field(default=50, ge=1, le=1000)
    """Positions of each map of an image that they look at; 10 in the paper."""


def student(_options: Options, pair: Pair) -> Model:
    """Return the pair's student: the network that the teacher is pruned to."""
    return pair.student


CARD = MethodCard(
    name="channel-pruning",
    title="Channel Pruning for Accelerating Very Deep Neural Networks",
    authors="Yihui He, Xiangyu Zhang, Jian Sun",
    year=2017,
    link="https://arxiv.org/abs/1707.06168",
    bibtex="""@inproceedings{he2017channel,
  title = {Channel Pruning for Accelerating Very Deep Neural Networks},
  author = {He, Yihui and Zhang, Xiangyu and Sun, Jian},
  booktitle = {International Conference on Computer Vision},
  year = {2017}
}""",
    tasks=TASKS,
    families=("two-stage", "dense", "segmentation"),
    equations="""A compression: L = L_task, and the student is the trained teacher without some of its channels.
Layer by layer, of the inputs X_1 .. X_c of a layer with weights W, c' stay:
1. selection: min over b of 1 / (2N) |Y - sum_i b_i X_i W_i|^2 + lambda |b|_1, with the largest lambda that
   leaves c' of the b_i other than 0;
2. reconstruction: min over W' of |Y - sum_(i kept) X_i W'_i|^2, by least squares.
X is what the layer gets in the network as it is pruned so far, Y what it gives in the teacher, before its
activation and without its bias. The layer that makes the channels loses the filters of the others.

Then it trains by the student's recipe, as long as the plain student.

Choices:
- c' is the number of channels that the pair's student has there, in every layer. So the pruned network is the
  student's, with its multiply-adds: the rows differ in where their training starts from.
- A pair whose student is not the teacher with fewer channels (another depth, another detector) is refused.
- The paper prunes the inner channels of residual blocks alone and samples a block's inputs, for half of the
  multiply-adds. Students here have far fewer (digits-faster-rcnn: 10.5 of 84.6 million, where the teacher's first
  convolution alone has 8.1).
  So the channels of a residual stream, of a pyramid and of heads are pruned too: those that are added to each other
  stay or go together. Where several layers take the same channels, their errors are summed in the selection, each
  relative to the square of its Y, and each layer is reconstructed by itself. A stream has no single last layer, so
  there is no correction of the identity's error, which the paper adds to the Y of a block's last layer.
- lambda is found exactly, along the path of the LASSO (LARS); the authors' code doubles and bisects it.
- The paper prunes shallow layers more and leaves the last ones; the ratio here is the student's.
- 2 has a small ridge, 1e-6 of the mean square of the inputs, towards the layer's own weights.
- The paper fine-tunes at a learning rate of 1e-5; here the recipe is that of every row.
- Layers are full convolutions, linear layers, BatchNorm and depthwise convolutions; a pair that has to narrow any
  other (GroupNorm, attention) is refused.""",
    method="kdbench_papers.channel_pruning.method:ChannelPruning",
    options=PruningOptions,
    compression=student,
)
