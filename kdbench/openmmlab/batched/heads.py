"""mmdet's heads with the targets of a batch computed at once; on a CPU, and where an option is not covered, mmdet's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import wraps
from typing import Any

import numpy as np
import torch
from mmdet.models import dense_heads
from mmdet.models.dense_heads.anchor_head import AnchorHead
from mmdet.models.task_modules.assigners import ATSSAssigner, MaxIoUAssigner
from torch import Tensor

from kdbench.openmmlab.batched import assigning, choosing
from kdbench.openmmlab.batched.assigning import Truth, atss, max_iou, truth_of
from kdbench.openmmlab.batched.choosing import Chosen, choose

LARGEST = 2**25
"""Pairs of an anchor and a box that are compared at once; more of them are done in several parts."""

Sizes = tuple[tuple[int, int], ...]


class _AtOnce:
    """Mixed into a head with anchors: targets of the whole batch."""

    assigner: Any
    sampler: Any
    train_cfg: Any
    prior_generator: Any
    num_classes: int
    sizes: Sizes = ()
    """Of the feature maps that anchors were last asked for."""

    def get_anchors(self, featmap_sizes: Any, *args: Any, **kwargs: Any) -> Any:
        """mmdet's; the maps' sizes are remembered for the targets."""
        self.sizes = tuple((int(height), int(width)) for height, width in featmap_sizes)
        return super().get_anchors(featmap_sizes, *args, **kwargs)  # type: ignore[misc]

    def at_once(self, kind: type, anchors: Any) -> bool:
        """Whether the options are covered, by an assigner of this kind."""
        return (
            type(self.assigner) is kind
            and assigning.covers(self.assigner)
            and choosing.covers(self.sampler)
            and self.train_cfg["allowed_border"] < 0
            and isinstance(anchors, Tensor)
        )


class GFLHead(_AtOnce, dense_heads.GFLHead):  # type: ignore[misc]
    """GFL's head."""

    @wraps(dense_heads.GFLHead.get_targets)
    def get_targets(
        self, anchor_list: Any, valid_flag_list: Any, batch_gt_instances: Any, batch_img_metas: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Anchors, labels, their weights, boxes, their weights of each level, and the loss's divisor."""
        anchors = anchor_list[0]
        if on_cpu(anchors) or kwargs.get("unmap_outputs") is False or not self.at_once(ATSSAssigner, anchors[0]):
            return super().get_targets(
                anchor_list, valid_flag_list, batch_gt_instances, batch_img_metas, *args, **kwargs
            )
        return self.targets_at_once(anchors, valid_flag_list, batch_gt_instances, batch_img_metas)

    def targets_at_once(self, anchors: list[Tensor], flags: Any, instances: Any, metas: Any) -> tuple[Any, ...]:
        """The same as ``get_targets``, for the whole batch."""
        truth, counts = truth_of(instances), [len(level) for level in anchors]
        inside, every = inside_of(flags, valid_sizes(self, metas), self.sizes), torch.cat(anchors)
        assigned = torch.cat([self._assigned(anchors, part, sizes) for part, sizes in self._parts(truth, metas, len(every))])
        chosen = choose(self.sampler, assigned)
        labels, weights, boxes, used = targets(self, truth, assigned, chosen)
        grid = every.expand(len(metas), -1, -1)
        if inside is not None:
            grid = grid * inside[..., None]
        levels = (part.split(counts, 1) for part in (grid, labels, weights, boxes, used))
        return (*map(list, levels), chosen.average(with_negatives=False))

    def _parts(self, truth: Truth, metas: Any, count: int) -> Iterator[tuple[Truth, Sizes]]:
        """Runs of images with the same valid sizes, none too large."""
        sizes = valid_sizes(self, metas)
        start = 0
        most = max(1, LARGEST // (count * truth.boxes.shape[1]))
        for stop in range(1, len(sizes) + 1):
            if stop == len(sizes) or sizes[stop] != sizes[start] or stop - start == most:
                yield truth.part(start, stop), sizes[start]
                start = stop

    def _assigned(self, anchors: list[Tensor], truth: Truth, valid: Sizes) -> Tensor:
        """(B, N) assigned indices of images that are valid up to these sizes; -1 outside."""
        if valid == self.sizes:
            return atss(self.assigner, torch.cat(anchors), [len(level) for level in anchors], truth)
        cut = [_grid(level, size)[: v[0], : v[1]].reshape(-1, 4) for level, size, v in zip(anchors, self.sizes, valid, strict=True)]
        found = atss(self.assigner, torch.cat(cut), [len(level) for level in cut], truth)
        placed = []
        for part, level, size, (height, width) in zip(found.split([len(level) for level in cut], 1), anchors, self.sizes, valid, strict=True):
            full = part.new_full((len(part), *size, len(level) // (size[0] * size[1])), -1)
            full[:, :height, :width] = part.view(len(part), height, width, -1)
            placed.append(full.flatten(1))
        return torch.cat(placed, dim=1)


class _BoxesAtOnce(_AtOnce):
    """Mixed into an ``AnchorHead``."""

    @wraps(AnchorHead.get_targets)
    def get_targets(
        self, anchor_list: Any, valid_flag_list: Any, batch_gt_instances: Any, batch_img_metas: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Labels, their weights, boxes, their weights of each level, and the loss's divisor."""
        anchors = anchor_list[0]
        plain = kwargs.get("unmap_outputs", True) and not kwargs.get("return_sampling_results", False)
        if on_cpu(anchors) or not plain or not self.at_once(MaxIoUAssigner, anchors[0]):
            return super().get_targets(  # type: ignore[misc]
                anchor_list, valid_flag_list, batch_gt_instances, batch_img_metas, *args, **kwargs
            )
        return self.targets_at_once(anchors, valid_flag_list, batch_gt_instances, batch_img_metas)

    def targets_at_once(self, anchors: list[Tensor], flags: Any, instances: Any, metas: Any) -> tuple[Any, ...]:
        """The same as ``get_targets``, for the whole batch."""
        truth, every = truth_of(instances), torch.cat(anchors)
        inside = inside_of(flags, valid_sizes(self, metas), self.sizes)
        grid, most = every.expand(len(metas), -1, -1), max(1, LARGEST // (len(every) * truth.boxes.shape[1]))
        found = []
        for start in range(0, len(metas), most):
            stop = min(start + most, len(metas))
            there = None if inside is None else inside[start:stop]
            found.append(max_iou(self.assigner, grid[start:stop], truth.part(start, stop), there))
        assigned = torch.cat(found)
        chosen = choose(self.sampler, assigned)
        parts = targets(self, truth, assigned, chosen, grid)
        with_negatives = type(self.sampler) is not choosing.PseudoSampler
        levels = (part.split([len(level) for level in anchors], 1) for part in parts)
        return (*map(list, levels), chosen.average(with_negatives=with_negatives))


class RPNHead(_BoxesAtOnce, dense_heads.RPNHead):  # type: ignore[misc]
    """The region proposal network's head."""


class RetinaHead(_BoxesAtOnce, dense_heads.RetinaHead):  # type: ignore[misc]
    """RetinaNet's head."""


def on_cpu(anchors: Sequence[Any]) -> bool:
    """Whether targets are computed on the CPU."""
    return bool(anchors[0].device.type == "cpu")


def valid_sizes(head: Any, metas: Any) -> list[Sizes]:
    """Of each image: the cells (height, width) of each level that it covers."""
    return [
        tuple(
            (min(int(np.ceil(height / stride[1])), size[0]), min(int(np.ceil(width / stride[0])), size[1]))
            for size, stride in zip(head.sizes, head.prior_generator.strides, strict=True)
        )
        for height, width in (meta["pad_shape"][:2] for meta in metas)
    ]


def inside_of(flags: Any, valid: list[Sizes], sizes: Sizes) -> Tensor | None:
    """(B, N) which anchors are in the images, from mmdet's flags of each image and level; None if all are."""
    if all(each == sizes for each in valid):
        return None
    return torch.stack([torch.cat(each) for each in flags])


def targets(
    head: Any, truth: Truth, assigned: Tensor, chosen: Chosen, anchors: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What a head is trained on.

    Args:
        head: It.
        truth: The boxes of the truth.
        assigned: (B, N) assigned indices.
        chosen: What the sampler took.
        anchors: (B, N, 4) to encode the boxes by, unless the head is trained on decoded ones; None for boxes as they are.

    Returns:
        Labels (B, N), their weights (B, N), boxes (B, N, 4), their weights (B, N, 4).
    """
    positive, which = chosen.positive, (assigned - 1).clamp(min=0)
    boxes = truth.boxes.gather(1, which[..., None].expand(-1, -1, 4))
    if anchors is not None and not head.reg_decoded_bbox:
        boxes = head.bbox_coder.encode(anchors, boxes)
    labels = torch.where(positive, truth.labels.gather(1, which), head.num_classes)
    weight = head.train_cfg["pos_weight"]
    used = (positive | chosen.negative).float()
    weights = used if weight <= 0 else torch.where(positive, weight, used)
    shown = positive[..., None].expand(-1, -1, 4)
    return labels, weights, torch.where(shown, boxes, 0.0), shown.float()


def _grid(anchors: Tensor, size: tuple[int, int]) -> Tensor:
    """(H * W * A, 4) -> (H, W, A, 4)."""
    return anchors.view(*size, -1, 4)
