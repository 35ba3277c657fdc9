"""R-FCN (Dai et al., NeurIPS 2016): each cell of a RoI is pooled from its own score maps, and the cells vote.

The RPN reads the stage before the last. The last stage is dilated to stride 16 and followed by a 1 x 1 convolution,
score maps for classes and boxes, and position-sensitive pooling. All classes share one box of four numbers; the
authors' code has four more for the background, which no loss uses. RoIs are sampled as in Faster R-CNN, without
hard example mining.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torchvision.ops
from mmdet.models.dense_heads import RPNHead
from mmdet.models.detectors import FasterRCNN
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.models.roi_heads.roi_extractors import BaseRoIExtractor
from mmdet.registry import MODELS
from torch import Tensor, nn

BOX = 4


@MODELS.register_module()
class RFCN(FasterRCNN):  # type: ignore[misc]
    """The detector: the neck reads the backbone's last map, and the RPN its first, which may be the same."""

    def extract_feat(self, batch_inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the score maps of images (B, 3, H, W), and the RPN's map."""
        maps = self.backbone(batch_inputs)
        (last,) = self.neck(maps[-1:])
        return self.roi_head.bbox_head.score_maps(last), maps[0]


@MODELS.register_module()
class LastMapRPNHead(RPNHead):  # type: ignore[misc]
    """An RPN that only reads the last of the maps."""

    def forward(self, maps: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Return objectness and box deltas, each a list of one map."""
        outputs: tuple[list[Tensor], list[Tensor]] = super().forward(maps[-1:])
        return outputs


@MODELS.register_module()
class PSRoIExtractor(BaseRoIExtractor):  # type: ignore[misc]
    """Position-sensitive pooling of RoIs from score maps.

    Args:
        roi_layer: ``type``, which is torchvision's ``PSRoIPool`` or ``PSRoIAlign``, and its arguments. The former
            rounds RoIs to whole cells of the map, whereas the authors' code rounds to whole pixels of the image;
            the latter does not round, which suits small objects.
        num_classes: Number of classes, without the background.
        featmap_strides: Stride of the maps, as the only element.
        init_cfg: Initialisation config of mmengine; unused, since there are no weights.
    """

    finest_scale = 0
    """All RoIs are on the only level."""

    def __init__(
        self,
        roi_layer: dict[str, Any],
        num_classes: int,
        featmap_strides: Sequence[int],
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(roi_layer, num_classes + 1 + BOX, list(featmap_strides), init_cfg)

    def build_roi_layers(self, layer_cfg: dict[str, Any], featmap_strides: list[int]) -> nn.ModuleList:
        """Return torchvision's layer for each stride."""
        settings = dict(layer_cfg)
        layer, size = getattr(torchvision.ops, settings.pop("type")), settings.pop("output_size")
        return nn.ModuleList(
            layer(output_size=(size, size), spatial_scale=1 / stride, **settings)
            for stride in featmap_strides
        )

    def forward(self, maps: Sequence[Tensor], rois: Tensor, roi_scale_factor: float | None = None) -> Tensor:
        """Return (R, classes + 1 + 4, k, k): scores of classes and background, and the box, of each cell.

        Args:
            maps: One map (B, (classes + 1 + 4) k k, H, W).
            rois: (R, 5) image index and x1, y1, x2, y2 in input pixels.
            roi_scale_factor: Unused; part of mmdet's interface.
        """
        pooled: Tensor = self.roi_layers[0](maps[0], rois)
        return pooled


@MODELS.register_module()
class VotingBBoxHead(BBoxHead):  # type: ignore[misc]
    """Box head that makes the score maps and averages the votes of a RoI's cells.

    Args:
        settings: Arguments of mmdet's BBoxHead: ``in_channels`` of the neck's map, ``roi_feat_size``,
            ``num_classes``.
    """

    def __init__(self, **settings: Any) -> None:
        nothing = {"type": nn.Identity}
        own = {"reg_class_agnostic": True, "cls_predictor_cfg": nothing, "reg_predictor_cfg": nothing}
        super().__init__(**(settings | own))
        self.init_cfg = {"type": "Normal", "layer": "Conv2d", "std": 0.01}
        self.score_maps = nn.Conv2d(self.in_channels, (self.num_classes + 1 + BOX) * self.roi_feat_area, 1)

    def forward(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits (R, classes + 1) and the box deltas (R, 4) of pooled cells."""
        votes = cells.mean((2, 3))
        return votes[:, :-BOX], votes[:, -BOX:]
