"""VGG-16 with BatchNorm at any width, such as the tiny students of quantization mimic (Wei et al., ECCV 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn
from torchvision.models.vgg import cfgs, make_layers

VGG16 = cfgs["D"]
ENDS = [place for place, part in enumerate(VGG16) if part == "M"]
"""Positions at which the stages end, which are those of the poolings."""


@MODELS.register_module()
class ScaledVGG16(BaseModule):  # type: ignore[misc]
    """The thirteen convolutions, for mmdet and mmseg; at width 1 torchvision's weights (``vgg16_bn``) load.

    Args:
        width: Factor on the channels of each convolution: 1/32 gives 2, 4, 8, 16 and 16.
        out_indices: Stages whose maps are returned, before their pooling: 0 to 4, at strides 1 to 16. Stages after
            the last of them are not built.
        init_cfg: Initialisation config of mmengine.
    """

    def __init__(
        self, width: float = 1.0, out_indices: Sequence[int] = (4,), init_cfg: dict[str, Any] | None = None
    ) -> None:
        super().__init__(init_cfg)
        used = VGG16[: ENDS[max(out_indices)]]
        channels = [part if part == "M" else max(1, round(part * width)) for part in used]
        self.features = make_layers(channels, batch_norm=True)
        self.out_indices = tuple(out_indices)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Map (B, 3, H, W) to the chosen maps, finest first; sizes are rounded down."""
        stages, value = [], image
        for part in self.features:
            if isinstance(part, nn.MaxPool2d):
                stages.append(value)
            value = part(value)
        return tuple([*stages, value][index] for index in self.out_indices)
