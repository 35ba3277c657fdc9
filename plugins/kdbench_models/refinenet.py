"""RefineNet (Lin et al., CVPR 2017) and Light-Weight RefineNet (Nekrasov et al., BMVC 2018) for any backbone.

From the coarsest map to the finest, a path reads the maps of its stride, adds the coarser path's output, and
applies chained residual pooling. The light version has 1 x 1 convolutions instead of 3 x 3, and no residual units.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.nn.functional import interpolate, relu

POOLS = 4
"""Number of poolings in a chain."""


def convolution(inputs: int, outputs: int, size: int, *, bias: bool = False) -> nn.Conv2d:
    """Return a convolution that keeps the size of its input."""
    return nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=bias)


class ResidualUnit(nn.Module):
    """Two convolutions, each after a ReLU, with a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = convolution(channels, channels, 3, bias=True)
        self.second = convolution(channels, channels, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (B, channels, H, W) to the same shape."""
        output: Tensor = inputs + self.second(relu(self.first(relu(inputs))))
        return output


class ChainedPooling(nn.Module):
    """Chain of poolings, each followed by a convolution, whose outputs are all added to the input."""

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(5, stride=1, padding=2)
        self.convolutions = nn.ModuleList(convolution(channels, channels, size) for _ in range(POOLS))

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (B, channels, H, W) to the same shape."""
        total = value = inputs
        for layer in self.convolutions:
            value = layer(self.pool(value))
            total = total + value
        return total


class Path(nn.Module):
    """The path of one stride.

    Args:
        inputs: Channels of the backbone's maps of this stride.
        channels: Channels inside the path.
        handed: Output channels for the finer path; None for the finest path.
        light: Whether the path is Light-Weight RefineNet's.
        coarsest: Whether it is the coarsest path.
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
        """Return (B, handed or channels, H, W), from maps of one size and the output of the coarser path."""
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
        groups: For each stride, finest first, the positions in ``in_index`` of its maps.
        coarsest_channels: Channels inside the coarsest path.
        light: Whether to build Light-Weight RefineNet.
        settings: Arguments of mmseg's BaseDecodeHead; ``channels`` applies to all other paths. In the full
            RefineNet, ``dropout_ratio`` also applies to the maps of the two coarsest strides.
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
