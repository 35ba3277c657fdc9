"""What selection and reconstruction need of a layer's samples: their second moments, summed over batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from kdbench_papers.channel_pruning.groups import Inlet


@dataclass
class Moments:
    """Second moments of what a layer gets of a group's channels, X, and of what they are to give, Y.

    Attributes:
        squares: (P, P) X^T X; the P inputs stand channel by channel.
        products: (P, N) X^T Y.
        energy: Sum of the squares of Y.
        weight: (P, N) the layer's weights on X.
    """

    squares: Tensor
    products: Tensor
    energy: float
    weight: Tensor

    @classmethod
    def of(cls, layer: Any, inlet: Inlet, channels: int) -> Moments:
        """Return the moments of no sample."""
        weight = layer.weight.detach()[:, inlet.span(channels)].flatten(1).T.double().cpu()
        return cls(weight.new_zeros(len(weight), len(weight)), torch.zeros_like(weight), 0.0, weight)

    def add(self, inputs: Tensor, missing: Tensor) -> None:
        """Add samples.

        Args:
            inputs: (S, P) X.
            missing: (S, N) what the layer gave in the teacher, less what it gives now: Y - X weight.
        """
        inputs = inputs.double().cpu()
        wanted = missing.double().cpu() + inputs @ self.weight
        self.squares += inputs.T @ inputs
        self.products += inputs.T @ wanted
        self.energy += float(wanted.square().sum())

    def parts(self, channels: int) -> tuple[Tensor, Tensor]:
        """Return Z^T Z (C, C) and Z^T Y (C,) of the outputs Z that each channel gives, relative to the energy."""
        width = len(self.weight) // channels
        shared = self.squares * (self.weight @ self.weight.T)
        gram = shared.view(channels, width, channels, width).sum((1, 3))
        products = (self.weight * self.products).reshape(channels, -1).sum(1)
        scale = 1 / self.energy if self.energy else 1.0
        return gram * scale, products * scale


def samples_of(
    layer: Any, inlet: Inlet, channels: int, inputs: Tensor, outputs: Tensor
) -> tuple[Tensor, Tensor]:
    """Return what a layer gets of a group's channels at each position, and what it gives there.

    Args:
        layer: A full convolution or linear layer.
        inlet: Where the channels go in.
        channels: How many there are.
        inputs: (B, C, H, W), or (..., C).
        outputs: (B, N, h, w), or (..., N).

    Returns:
        (B, S, P), (B, S, N) with S positions an image; an image of a linear layer has one.
    """
    span = inlet.span(channels)
    if isinstance(layer, nn.Linear):
        return inputs[..., span].flatten(0, -2).unsqueeze(1), outputs.flatten(0, -2).unsqueeze(1)
    patches = functional.unfold(
        inputs[:, span],
        layer.kernel_size,
        dilation=layer.dilation,
        padding=layer.padding,
        stride=layer.stride,
    )
    return patches.transpose(1, 2), outputs.flatten(2).transpose(1, 2)


def drawn(samples: Tensor, other: Tensor, positions: int, draws: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return so many positions of each image at most, the same of both, as (samples, ...)."""
    count = samples.shape[1]
    if count > positions:
        scores = torch.rand(samples.shape[:2], generator=draws)
        at = scores.argsort(dim=1)[:, :positions].to(samples.device)[..., None]
        samples = samples.gather(1, at.expand(-1, -1, samples.shape[2]))
        other = other.gather(1, at.expand(-1, -1, other.shape[2]))
    return samples.flatten(0, 1), other.flatten(0, 1)
