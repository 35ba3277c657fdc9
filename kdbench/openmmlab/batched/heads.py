"""mmdet's heads with the targets of a batch computed at once.

On a CPU, and with options that are not covered, they are mmdet's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import Any

import numpy as np
import torch
from mmdet.models import dense_heads
from mmdet.models.dense_heads.anchor_head import AnchorHead
from mmdet.models.task_modules.assigners import ATSSAssigner, MaxIoUAssigner
from mmdet.models.task_modules.samplers import PseudoSampler
from torch import Tensor

from kdbench.devices import CPU
from kdbench.openmmlab.batched import assigning, choosing
from kdbench.openmmlab.batched.assigning import Truth, atss, max_iou, truth_of
from kdbench.openmmlab.batched.choosing import Chosen, choose

LARGEST = 2**25
"""Pairs of an anchor and a box that are compared at once; more of them are done in several parts."""

Sizes = tuple[tuple[int, int], ...]
"""Height and width of each level's map, in cells."""


class _AtOnce:
    """Mixed into a head with anchors."""

    kind: type
    """Of the assigners that are covered."""
    assigner: Any
    sampler: Any
    train_cfg: Any
    prior_generator: Any
    num_classes: int
    sizes: Sizes = ()
    """Of the maps that anchors were last asked for."""

    def get_anchors(self, featmap_sizes: Any, *args: Any, **kwargs: Any) -> Any:
        """Return mmdet's anchors; the sizes of the maps are remembered for the targets."""
        self.sizes = tuple((int(height), int(width)) for height, width in featmap_sizes)
        return super().get_anchors(featmap_sizes, *args, **kwargs)  # type: ignore[misc]

    def covered(self, anchors: Any) -> bool:
        """Whether the head's options are."""
        return (
            type(self.assigner) is self.kind
            and assigning.covers(self.assigner)
            and choosing.covers(self.sampler)
            and self.train_cfg["allowed_border"] < 0
            and isinstance(anchors, Tensor)
        )

    def either(self, own: Callable[..., Any], anchors: Any, *args: Any, **kwargs: Any) -> Any:
        """Return targets computed at once, or by mmdet's own method with the same arguments."""
        levels = anchors[0]
        plain = kwargs.get("unmap_outputs", True) and not kwargs.get("return_sampling_results", False)
        if levels[0].device.type == CPU or not plain or not self.covered(levels[0]):
            return own(anchors, *args, **kwargs)
        return self.targets_at_once(levels, *args[:3])

    def targets_at_once(
        self, anchors: Sequence[Tensor], flags: Any, instances: Any, metas: Any
    ) -> tuple[Any, ...]:
        """Return what ``get_targets`` does.

        Args:
            anchors: (H_i * W_i * A, 4) of each level.
            flags: (H_i * W_i * A,) of each image and level: which anchors are in the image.
            instances: The truth of each image.
            metas: What is known of each image.
        """
        truth, valid = truth_of(instances), valid_sizes(self, metas)
        inside = None
        if any(each != self.sizes for each in valid):
            inside = torch.stack([torch.cat(each) for each in flags])
        assigned = torch.cat(list(self.assigned(anchors, truth, valid, inside)))
        chosen, grid = choose(self.sampler, assigned), torch.cat(list(anchors)).expand(len(metas), -1, -1)
        parts = self.parts(grid, inside, truth, assigned, chosen)
        counts = [len(level) for level in anchors]
        with_negatives = type(self.sampler) is not PseudoSampler
        average = chosen.average(with_negatives=with_negatives)
        return (*(list(torch.split(part, counts, 1)) for part in parts), average)

    def assigned(
        self, anchors: Sequence[Tensor], truth: Truth, valid: list[Sizes], inside: Tensor | None
    ) -> Iterator[Tensor]:
        """Yield the assigned indices (b, N) of one run of images after the other."""
        raise NotImplementedError

    def parts(
        self, grid: Tensor, inside: Tensor | None, truth: Truth, assigned: Tensor, chosen: Chosen
    ) -> tuple[Tensor, ...]:
        """Return what there is for each anchor (B, N, ...): labels, their weights, boxes, their weights."""
        raise NotImplementedError


class GFLHead(_AtOnce, dense_heads.GFLHead):  # type: ignore[misc]
    """GFL's head."""

    kind = ATSSAssigner

    @wraps(dense_heads.GFLHead.get_targets)
    def get_targets(self, *args: Any, **kwargs: Any) -> Any:
        """Return anchors, labels, weights, boxes and weights of each level, and the loss's divisor."""
        return self.either(super().get_targets, *args, **kwargs)

    def assigned(
        self, anchors: Sequence[Tensor], truth: Truth, valid: list[Sizes], inside: Tensor | None
    ) -> Iterator[Tensor]:
        """Yield those of runs of images that cover the same cells."""
        start, most = 0, images_at_once(anchors, truth)
        for stop in range(1, len(valid) + 1):
            if stop == len(valid) or valid[stop] != valid[start] or stop - start == most:
                yield self._of_same_size(anchors, truth.part(start, stop), valid[start])
                start = stop

    def _of_same_size(self, anchors: Sequence[Tensor], truth: Truth, valid: Sizes) -> Tensor:
        """(b, N) assigned indices of images that cover these cells; -1 outside."""
        grids = [level.view(*size, -1, 4) for level, size in zip(anchors, self.sizes, strict=True)]
        cut = [
            grid[:height, :width].flatten(0, 2) for grid, (height, width) in zip(grids, valid, strict=True)
        ]
        counts = [len(level) for level in cut]
        found = atss(self.assigner, torch.cat(cut), counts, truth)
        if valid == self.sizes:
            return found
        levels = zip(torch.split(found, counts, 1), grids, valid, strict=True)
        return torch.cat([_placed(part, grid.shape[:3], size) for part, grid, size in levels], dim=1)

    def parts(
        self, grid: Tensor, inside: Tensor | None, truth: Truth, assigned: Tensor, chosen: Chosen
    ) -> tuple[Tensor, ...]:
        """Return the anchors before the rest; zeros outside."""
        anchors = grid if inside is None else torch.where(inside[..., None], grid, 0.0)
        return anchors, *targets(self, truth, assigned, chosen)


class _MaxIoU(_AtOnce):
    """Mixed into an ``AnchorHead``."""

    kind = MaxIoUAssigner

    @wraps(AnchorHead.get_targets)
    def get_targets(self, *args: Any, **kwargs: Any) -> Any:
        """Return labels, weights, boxes and weights of each level, and the loss's divisor."""
        return self.either(super().get_targets, *args, **kwargs)  # type: ignore[misc]

    def assigned(
        self, anchors: Sequence[Tensor], truth: Truth, valid: list[Sizes], inside: Tensor | None
    ) -> Iterator[Tensor]:
        """Yield those of as many images as are compared at once."""
        every, most = torch.cat(list(anchors)), images_at_once(anchors, truth)
        for start in range(0, len(valid), most):
            part = truth.part(start, start + most)
            there = None if inside is None else inside[start : start + most]
            yield max_iou(self.assigner, every.expand(len(part.counts), -1, -1), part, there)

    def parts(
        self, grid: Tensor, inside: Tensor | None, truth: Truth, assigned: Tensor, chosen: Chosen
    ) -> tuple[Tensor, ...]:
        """Return boxes as the head's coder encodes them."""
        return targets(self, truth, assigned, chosen, grid)


class RPNHead(_MaxIoU, dense_heads.RPNHead):  # type: ignore[misc]
    """The region proposal network's head."""


class RetinaHead(_MaxIoU, dense_heads.RetinaHead):  # type: ignore[misc]
    """RetinaNet's head."""


def images_at_once(anchors: Sequence[Tensor], truth: Truth) -> int:
    """Return how many images are compared with the anchors at once."""
    return max(1, LARGEST // (sum(len(level) for level in anchors) * truth.boxes.shape[1]))


def valid_sizes(head: Any, metas: Any) -> list[Sizes]:
    """Return the cells of each level that each image covers, as mmdet's ``valid_flags`` counts them."""
    return [
        tuple(
            (min(int(np.ceil(height / stride[1])), size[0]), min(int(np.ceil(width / stride[0])), size[1]))
            for size, stride in zip(head.sizes, head.prior_generator.strides, strict=True)
        )
        for height, width in (meta["pad_shape"][:2] for meta in metas)
    ]


def targets(
    head: Any, truth: Truth, assigned: Tensor, chosen: Chosen, anchors: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return what a head is trained on.

    Args:
        head: The head.
        truth: The boxes of the truth.
        assigned: (B, N) assigned indices.
        chosen: What the sampler took.
        anchors: (B, N, 4) that boxes are encoded by, unless the head is trained on decoded ones; None: they
            stay as they are.

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


def _placed(found: Tensor, grid: Sequence[int], valid: tuple[int, int]) -> Tensor:
    """(b, h * w * A) of the cells that are covered -> (b, H * W * A) of all of them; -1 outside."""
    full = found.new_full((len(found), *grid), -1)
    full[:, : valid[0], : valid[1]] = found.view(len(found), *valid, grid[2])
    return full.flatten(1)
