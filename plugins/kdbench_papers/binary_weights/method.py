"""Starts the binary network from the teacher's real weights."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from kdbench.api import Batch, Compression, UserError
from kdbench_papers.binary_weights.card import BinaryOptions
from kdbench_papers.binary_weights.layers import BinaryConv2d


class BinaryWeights(Compression[BinaryOptions]):
    """Looks at no image: signs and scales follow from the weights."""

    def start(self, student: nn.Module, teacher: nn.Module, batches: Sequence[Batch]) -> list[str]:
        """Copy the weights; say how many of them have one bit."""
        binary = [layer for layer in student.modules() if isinstance(layer, BinaryConv2d)]
        if not binary:
            raise UserError(
                "binary-weights: no convolution of this backbone follows its conv_cfg: use another pair."
            )
        student.load_state_dict(teacher.state_dict())
        one_bit = sum(layer.weight.numel() for layer in binary)
        every = sum(parameter.numel() for parameter in student.parameters())
        return [
            f"{one_bit:,} of {every:,} parameters have one bit: {len(binary)} convolutions of the backbone, all "
            "but the first; neck and heads are real"
        ]
