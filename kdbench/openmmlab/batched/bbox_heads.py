"""mmdet's box head with the targets of a batch's samples computed at once; on a CPU it is mmdet's own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import wraps
from typing import Any

import torch
from mmdet.models.roi_heads import bbox_heads
from torch import Tensor

from kdbench.devices import CPU


class Shared2FCBBoxHead(bbox_heads.Shared2FCBBoxHead):  # type: ignore[misc]
    """The box head of Faster R-CNN."""

    @wraps(bbox_heads.BBoxHead.get_targets)
    def get_targets(self, sampling_results: Any, rcnn_train_cfg: Any, concat: bool = True) -> Any:
        """Return labels, their weights, boxes and their weights of the samples of all images."""
        if not concat or sampling_results[0].pos_priors.device.type == CPU:
            return super().get_targets(sampling_results, rcnn_train_cfg, concat)
        return self.targets_at_once(sampling_results, rcnn_train_cfg)

    def targets_at_once(self, results: Sequence[Any], options: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return what ``get_targets`` does: positives before negatives, image by image."""
        counts = [(len(each.pos_priors), len(each.neg_priors)) for each in results]
        priors = torch.cat([each.pos_priors for each in results])
        boxes = torch.cat([each.pos_gt_bboxes for each in results])
        if not self.reg_decoded_bbox:
            boxes = self.bbox_coder.encode(priors, boxes)
        most = max(max(each) for each in counts)
        background = torch.full((most,), self.num_classes, device=priors.device)
        ones, zeros = priors.new_ones(most, boxes.shape[1]), priors.new_zeros(most, boxes.shape[1])
        weight = 1.0 if options.pos_weight <= 0 else options.pos_weight
        labels = torch.cat([each.pos_gt_labels for each in results])
        return (
            _joined(labels, background, counts),
            _joined(ones[:, 0] * weight, ones[:, 0], counts, again=True),
            _joined(boxes, zeros, counts),
            _joined(ones, zeros, counts, again=True),
        )


def _joined(
    positive: Tensor, negative: Tensor, counts: Sequence[tuple[int, int]], *, again: bool = False
) -> Tensor:
    """Take as many rows of both for each image as it has.

    Args:
        positive: (P, ...) rows of all images.
        negative: (N, ...) rows that are the same for each image.
        counts: Positive and negative rows of each image.
        again: Take the first rows of ``positive`` for each image as well.
    """
    start, parts = 0, []
    for first, second in counts:
        parts += [positive[start : start + first], negative[:second]]
        start += 0 if again else first
    return torch.cat(parts)
