"""mmdet's dense heads with the targets of a batch computed at once, and their anchors made only once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import Any

import numpy as np
import torch
from mmdet.models import dense_heads
from mmdet.models.dense_heads.anchor_head import AnchorHead
from mmdet.models.losses.cross_entropy_loss import binary_cross_entropy
from mmdet.models.task_modules.assigners import ATSSAssigner, MaxIoUAssigner
from mmdet.models.task_modules.prior_generators import AnchorGenerator
from mmdet.models.task_modules.samplers import PseudoSampler
from torch import Tensor

from kdbench.devices import CPU
from kdbench.openmmlab.batched import assigning, choosing
from kdbench.openmmlab.batched.assigning import Truth, atss, max_iou, truth_of
from kdbench.openmmlab.batched.choosing import Chosen, choose

GRIDS_KEPT = 16
"""Number of grids that a generator keeps, the latest ones: training at several scales has many sizes."""

LARGEST = 2**25
"""Number of pairs of an anchor and a box that are compared at once; more are split into several parts."""

Sizes = tuple[tuple[int, int], ...]
"""Height and width of each level's map, in cells."""


class ReusedAnchors(AnchorGenerator):  # type: ignore[misc]
    """mmdet's generator, which reuses the grids that it made for feature maps of the same sizes."""

    def grid_priors(self, featmap_sizes: Any, dtype: Any = None, device: Any = "cuda") -> list[Tensor]:
        """Return the anchors of each level, (H_i * W_i * A, 4)."""
        kwargs = {} if dtype is None else {"dtype": dtype}
        return self._kept("grid_priors", featmap_sizes, device=device, **kwargs)

    def valid_flags(self, featmap_sizes: Any, pad_shape: Any, device: Any = "cuda") -> list[Tensor]:
        """Return for each level whether each anchor's cell is in the image, (H_i * W_i * A,)."""
        return self._kept("valid_flags", featmap_sizes, tuple(pad_shape[:2]), device=device)

    def _kept(self, name: str, sizes: Any, *args: Any, **kwargs: Any) -> list[Tensor]:
        sizes = [tuple(size) for size in sizes]
        kept: dict[Any, list[Tensor]] = self.__dict__.setdefault("_grids", {})
        key = name, tuple(sizes), args, *sorted((k, str(v)) for k, v in kwargs.items())
        made = kept.pop(key, None)
        if made is None or any(getattr(level, "_version", 0) for level in made):  # or changed in place
            made = getattr(super(), name)(sizes, *args, **kwargs)
        kept[key] = made  # the latest last
        if len(kept) > GRIDS_KEPT:
            del kept[next(iter(kept))]
        return list(made)


class _AtOnce:
    """A mixin for heads with anchors."""

    kind: type
    """Class of the assigner that is covered."""
    assigner: Any
    sampler: Any
    train_cfg: Any
    prior_generator: Any
    num_classes: int
    sizes: Sizes = ()
    """Sizes of the maps that anchors were last made for."""

    def get_anchors(self, featmap_sizes: Any, *args: Any, **kwargs: Any) -> Any:
        """Return mmdet's anchors and keep the sizes of the maps for the targets."""
        self.sizes = tuple((int(height), int(width)) for height, width in featmap_sizes)
        return super().get_anchors(featmap_sizes, *args, **kwargs)  # type: ignore[misc]

    def is_covered(self, anchors: Any) -> bool:
        """Whether the head's options are covered."""
        return (
            type(self.assigner) is self.kind
            and assigning.covers_assigner(self.assigner)
            and choosing.covers_sampler(self.sampler)
            and self.train_cfg["allowed_border"] < 0
            and isinstance(anchors, Tensor)
        )

    def targets_by(self, own: Callable[..., Any], anchors: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the targets, computed at once if that is covered, else by mmdet's own method."""
        levels = anchors[0]
        plain = kwargs.get("unmap_outputs", True) and not kwargs.get("return_sampling_results", False)
        if levels[0].device.type == CPU or not plain or not self.is_covered(levels[0]):
            return own(anchors, *args, **kwargs)
        return self.targets_at_once(levels, *args[:3])

    def targets_at_once(
        self, anchors: Sequence[Tensor], flags: Any, instances: Any, metas: Any
    ) -> tuple[Any, ...]:
        """Return what ``get_targets`` returns.

        Args:
            anchors: (H_i * W_i * A, 4) of each level.
            flags: For each image and level, (H_i * W_i * A,), which anchors are in the image.
            instances: Ground truth of each image.
            metas: Meta information of each image.
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
        """Yield the assigned indices (b, N) of consecutive parts of the batch."""
        raise NotImplementedError

    def parts(
        self, grid: Tensor, inside: Tensor | None, truth: Truth, assigned: Tensor, chosen: Chosen
    ) -> tuple[Tensor, ...]:
        """Return the targets of each anchor (B, N, ...): labels, their weights, boxes, their weights."""
        raise NotImplementedError


class GFLHead(_AtOnce, dense_heads.GFLHead):  # type: ignore[misc]
    """GFL's head."""

    kind = ATSSAssigner

    @wraps(dense_heads.GFLHead.get_targets)
    def get_targets(self, *args: Any, **kwargs: Any) -> Any:
        """Return anchors, labels, weights, boxes and weights of each level, and the loss's divisor."""
        return self.targets_by(super().get_targets, *args, **kwargs)

    def assigned(
        self, anchors: Sequence[Tensor], truth: Truth, valid: list[Sizes], inside: Tensor | None
    ) -> Iterator[Tensor]:
        """Yield the indices of consecutive images that cover the same cells."""
        start, most = 0, images_at_once(anchors, truth)
        for stop in range(1, len(valid) + 1):
            if stop == len(valid) or valid[stop] != valid[start] or stop - start == most:
                yield self._of_same_size(anchors, truth.part(start, stop), valid[start])
                start = stop

    def _of_same_size(self, anchors: Sequence[Tensor], truth: Truth, valid: Sizes) -> Tensor:
        """Return the assigned indices (b, N) of images that cover these cells; -1 outside."""
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
        """Return the anchors first, zeros outside."""
        anchors = grid if inside is None else torch.where(inside[..., None], grid, 0.0)
        return anchors, *targets(self, truth, assigned, chosen)


class _MaxIoU(_AtOnce):
    """A mixin for a plain ``AnchorHead``."""

    kind = MaxIoUAssigner

    @wraps(AnchorHead.get_targets)
    def get_targets(self, *args: Any, **kwargs: Any) -> Any:
        """Return labels, weights, boxes and weights of each level, and the loss's divisor."""
        return self.targets_by(super().get_targets, *args, **kwargs)  # type: ignore[misc]

    def assigned(
        self, anchors: Sequence[Tensor], truth: Truth, valid: list[Sizes], inside: Tensor | None
    ) -> Iterator[Tensor]:
        """Yield the indices of as many images as are compared at once."""
        every, most = torch.cat(list(anchors)), images_at_once(anchors, truth)
        for start in range(0, len(valid), most):
            part = truth.part(start, start + most)
            there = None if inside is None else inside[start : start + most]
            yield max_iou(self.assigner, every.expand(len(part.counts), -1, -1), part, there)

    def parts(
        self, grid: Tensor, inside: Tensor | None, truth: Truth, assigned: Tensor, chosen: Chosen
    ) -> tuple[Tensor, ...]:
        """Return the targets with boxes as the head's coder encodes them."""
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
    """Return the targets of a head.

    Args:
        head: The head.
        truth: Ground-truth boxes.
        assigned: (B, N) assigned indices.
        chosen: The samples.
        anchors: (B, N, 4) anchors that encode the boxes, unless the head is trained on decoded ones; None
            leaves the boxes as they are.

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


def class_cross_entropy(pred: Tensor, label: Tensor, weight: Tensor | None = None, **options: Any) -> Tensor:
    """Compute mmdet's ``binary_cross_entropy`` of class indices without asking the device for row numbers.

    Args:
        pred: (N, C) logits.
        label: (N,) class indices.
        weight: (N,).
        options: Options of mmdet's function.
    """
    counted = options.get("avg_factor") is None and options.get("avg_non_ignore")
    if pred.device.type != CPU and pred.dim() != label.dim() and weight is not None and not counted:
        label, weight = one_hot(label, weight, pred.shape[-1], options.get("ignore_index"))
    loss: Tensor = binary_cross_entropy(pred, label, weight, **options)
    return loss


def one_hot(label: Tensor, weight: Tensor, classes: int, ignored: int | None) -> tuple[Tensor, Tensor]:
    """Return class indices (N,) as ones and zeros (N, C), and their weights (N, C)."""
    valid = (label >= 0) & (label != (-100 if ignored is None else ignored))
    own = (label[:, None] == torch.arange(classes, device=label.device)) & valid[:, None]
    return own.long(), weight[:, None].repeat(1, classes) * valid[:, None].float()


def _placed(found: Tensor, grid: Sequence[int], valid: tuple[int, int]) -> Tensor:
    """Extend the indices of the covered cells, (b, h * w * A), to all cells, (b, H * W * A), by -1."""
    full = found.new_full((len(found), *grid), -1)
    full[:, : valid[0], : valid[1]] = found.view(len(found), *valid, grid[2])
    return full.flatten(1)
