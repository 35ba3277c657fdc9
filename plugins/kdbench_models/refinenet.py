"""RefineNet (Lin et al., CVPR 2017) and Light-Weight RefineNet (Nekrasov et al., BMVC 2018) over any backbone.

From the coarsest map to the finest, a path takes in the maps of its stride, adds what the coarser path gives, and
pools it with residuals. The light one has 1 x 1 convolutions instead of 3 x 3, and no residual units.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.nn.functional import interpolate, relu

POOLS = 4
"""Poolings in a chain."""


def convolution(inputs: int, outputs: int, size: int, *, bias: bool = False) -> nn.Conv2d:
    """Return a convolution that keeps the size of its input."""
    return nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=bias)


class ResidualUnit(nn.Module):
    """Two convolutions behind a ReLU each, beside the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = convolution(channels, channels, 3, bias=True)
        self.second = convolution(channels, channels, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        """Keep the shape (B, channels, H, W)."""
        output: Tensor = inputs + self.second(relu(self.first(relu(inputs))))
        return output


class ChainedPooling(nn.Module):
    """Poolings in a row, each behind the last and with a convolution; all are added to the input."""

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(5, stride=1, padding=2)
        self.convolutions = nn.ModuleList(convolution(channels, channels, size) for _ in range(POOLS))

    def forward(self, inputs: Tensor) -> Tensor:
        """Keep the shape (B, channels, H, W)."""
        total = value = inputs
        for layer in self.convolutions:
            value = layer(self.pool(value))
            total = total + value
        return total


class Path(nn.Module):
    """What happens at one stride.

    Args:
        inputs: Channels of the backbone's maps of this stride.
        channels: Channels inside.
        handed: Channels for the finer path; None for the finest.
        light: Light-weight.
        coarsest: Whether no path comes before it.
    """

    def __init__(
        self, inputs: Sequence[int], channels: int, handed: int | None, *, light: bool, coarsest: bool
    ) -> None:
        super().__init__()
        size = 1 if light else 3
        self.entries = nn.ModuleList(convolution(count, channels, size) for count in inputs)
        before = [] if light else [ResidualUnit(channels) for _ in range(2)]
        after = [] if light else [ResidualUnit(channels) for _ in range(3)]
        self.adapt = nn.Sequential(
            *before, *([] if light or coarsest else [convolution(channels, channels, 3)])
        )
        self.refine = nn.Sequential(ChainedPooling(channels, size), *after)
        self.hand = nn.Identity() if handed is None else convolution(channels, handed, size)

    def forward(self, maps: Sequence[Tensor], coarser: Tensor | None) -> Tensor:
        """Return (B, handed or channels, H, W) of maps of one size and what the coarser path handed on."""
        first, *others = (entry(one) for entry, one in zip(self.entries, maps, strict=True))
        total: Tensor = self.adapt(sum(others, first))
        if coarser is not None:
            size = total.shape[-2:]
            total = total + interpolate(coarser, size=size, mode="bilinear", align_corners=True)
        output: Tensor = self.hand(self.refine(relu(total)))
        return output


@MODELS.register_module()
class RefineNetHead(BaseDecodeHead):  # type: ignore[misc]
    """The decoder, with a 3 x 3 classifier.

    Args:
        groups: For each stride, finest first, the positions in ``in_index`` of the maps that have it.
        coarsest_channels: Channels inside the coarsest path.
        light: Light-Weight RefineNet.
        settings: Those of mmseg's decode heads; ``channels`` are those of all other paths. Of the full RefineNet,
            ``dropout_ratio`` is that of the two coarsest strides too.
    """

    def __init__(
        self,
        groups: Sequence[Sequence[int]] = ((0,), (1,), (2,), (3,)),
        coarsest_channels: int = 512,
        light: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(**({"input_transform": "multiple_select", "align_corners": True} | settings))
        self.groups = [tuple(group) for group in groups]
        last = len(self.groups) - 1
        self.paths = nn.ModuleList(
            Path(
                [self.in_channels[index] for index in group],
                coarsest_channels if place == last else self.channels,
                self.channels if place else None,
                light=light,
                coarsest=place == last,
            )
            for place, group in enumerate(self.groups)
        )
        self.dropout = nn.Dropout(self.dropout_ratio)
        self.dropout_of_maps = nn.Dropout(0.0 if light else self.dropout_ratio)
        self.conv_seg = convolution(self.channels, self.out_channels, 3, bias=True)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return (B, classes, H / 4, W / 4) logits of the backbone's maps."""
        maps = self._transform_inputs(inputs)
        value = None
        for place in reversed(range(len(self.groups))):
            own = [maps[index] for index in self.groups[place]]
            if place >= len(self.groups) - 2:
                own = [self.dropout_of_maps(one) for one in own]
            value = self.paths[place](own, value)
        logits: Tensor = self.cls_seg(value)
        return logits
