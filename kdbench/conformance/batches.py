"""The same batch in another form: its images in another order, or all of it mirrored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from kdbench.distill import Assignment, Captures, Logits, Predictions, Step
from kdbench.distill.levels import LevelsByAnchors, LevelsByScale

AT_ROIS = frozenset({"roi_features", "roi_logits", "roi_boxes", "roi_targets"})
"""Captures with a row for each of the student's RoIs."""
AT_ANCHORS = frozenset({"rpn_targets", "head_targets"})
"""Captures at chosen anchors or points of all images."""
SHARED = frozenset({"anchors", "box_levels"})
"""Captures that say nothing of the order of the images."""
HORIZONTAL, VERTICAL = -1, -2
"""Dimensions of a map along which it can be mirrored."""
KERNELS = (nn.Conv2d, nn.ConvTranspose2d, nn.MaxPool2d, nn.AvgPool2d)


def reordered(step: Step, order: Sequence[int]) -> Step:
    """Return a copy of a step with its images in another order.

    Args:
        step: Whose ``student`` has the ``rois`` in a two-stage family.
        order: Position in the new batch -> position in the old one.
    """
    rows = _rows(step.student["rois"], order) if "rois" in step.student else None
    sizes = [len(level) for level in step.student.get("anchors", ())]

    def captures(values: Captures) -> dict[str, Any]:
        return {name: _reordered(name, value, order, rows, sizes) for name, value in values.items()}

    targets = step.targets
    return replace(
        step,
        student=captures(step.student),
        teacher=captures(step.teacher),
        others=tuple(captures(other) for other in step.others),
        images=step.images[list(order)],
        targets=replace(
            targets,
            boxes=tuple(targets.boxes[old].clone() for old in order if targets.boxes),
            labels=tuple(targets.labels[old].clone() for old in order if targets.labels),
            masks=None if targets.masks is None else targets.masks[list(order)],
            sizes=tuple(targets.sizes[old] for old in order if targets.sizes),
        ),
    )


def _rows(rois: Tensor, order: Sequence[int]) -> Tensor:
    """(R,) rows of the RoIs: those of the first image in the new order first."""
    return torch.cat([(rois[:, 0] == old).nonzero().flatten() for old in order])


def _reordered(name: str, value: Any, order: Sequence[int], rows: Tensor | None, sizes: Sequence[int]) -> Any:
    if name == "rois" and rows is not None:
        places = torch.tensor([order.index(old) for old in range(len(order))], dtype=value.dtype)
        moved = value[rows].clone()
        moved[:, 0] = places[moved[:, 0].long()]
        return moved
    if name == "proposals":
        return [value[old].clone() for old in order]
    if name == "assignments":
        return {head: _reordered(f"{head}_targets", part, order, rows, sizes) for head, part in value.items()}
    if name in AT_ANCHORS:
        return replace(_each(value, torch.clone), rows=_anchors_of_images(value.rows, sizes, order))
    if name in SHARED:
        return _each(value, torch.clone)
    if rows is not None and (name in AT_ROIS or name == "logits"):
        return _at_rows(value, rows)
    return _each(value, lambda part: part[list(order)])


def _at_rows(value: Any, rows: Tensor) -> Any:
    if not isinstance(value, Assignment):
        return _each(value, lambda part: part[rows])
    places = torch.empty_like(rows)
    places[rows] = torch.arange(len(rows))
    positive, by = places[value.positive].sort()
    return replace(
        value,
        logits=value.logits[rows],
        labels=value.labels[rows],
        positive=positive,
        boxes=value.boxes[by],
        targets=value.targets[by],
        rows=places[value.rows[rows]],
        weights=value.weights[rows],
    )


def _anchors_of_images(rows: Tensor, sizes: Sequence[int], order: Sequence[int]) -> Tensor:
    """Return the places of anchors after the images were put in another order.

    Args:
        rows: (N,) places, counted over levels, then images, then an image's anchors.
        sizes: Anchors of an image at each level.
        order: Position in the new batch -> position in the old one.
    """
    images, size = torch.argsort(torch.tensor(order)), torch.tensor(sizes)
    ends = (size * len(order)).cumsum(0)
    level = torch.bucketize(rows, ends, right=True)
    start = ends[level] - size[level] * len(order)
    image, anchor = (rows - start) // size[level], (rows - start) % size[level]
    return start + images[image] * size[level] + anchor


def mirrored(step: Step, axis: int) -> Step:
    """Return a step whose images, maps, boxes and masks are mirrored.

    Args:
        step: Whose ``student`` has the ``neck``.
        axis: ``HORIZONTAL`` or ``VERTICAL``.
    """
    mirror = Mirror(step, axis)

    def captures(values: Captures) -> dict[str, Any]:
        return {name: mirror.capture(name, value) for name, value in values.items()}

    targets = step.targets
    return replace(
        step,
        student=captures(step.student),
        teacher=captures(step.teacher),
        others=tuple(captures(other) for other in step.others),
        images=step.images.flip(axis),
        targets=replace(
            targets,
            boxes=tuple(map(mirror.corners, targets.boxes)),
            masks=None if targets.masks is None else targets.masks.flip(axis),
        ),
    )


class Mirror:
    """Mirrors what there is in a step.

    Args:
        step: Whose ``student`` has the ``neck``.
        axis: ``HORIZONTAL`` or ``VERTICAL``.
    """

    def __init__(self, step: Step, axis: int) -> None:
        self.size, self.axis, self.images = step.targets.image_shape[axis], axis, len(step.images)
        self.grids = [level.shape[-2:] for level in step.student["neck"]]
        self.anchors = [len(level) for level in step.student.get("anchors", ())]
        """Of an image at each level."""
        self.side = 0 if axis == HORIZONTAL else 1
        """Position of x1 or y1 in a box, of dx or dy in its deltas, and of the distance to the left or the top."""

    def capture(self, name: str, value: Any) -> Any:
        """Return a capture as it is on the mirrored images."""
        if name == "proposals":
            return [self.corners(part) for part in value]
        if name == "rois":
            return torch.cat([value[:, :1], self.corners(value[:, 1:])], dim=1)
        if name == "anchors":
            return [self._anchors(part, *grid) for part, grid in zip(value, self.grids, strict=True)]
        if isinstance(value, LevelsByAnchors):
            return LevelsByAnchors(tuple(map(self.corners, value.anchors)))
        if name == "roi_boxes":
            return self._deltas(value.unflatten(1, (-1, 4)), 2).flatten(1)
        if name == "assignments":
            return {head: self.capture(f"{head}_targets", part) for head, part in value.items()}
        if isinstance(value, Assignment):
            encoded = self._distances if name == "head_targets" else self._deltas
            rows = self._rows(value.rows) if name in AT_ANCHORS else value.rows
            return replace(value, boxes=encoded(value.boxes, 1), targets=encoded(value.targets, 1), rows=rows)
        if isinstance(value, Predictions):
            return Predictions(
                _each(value.logits, self.map), tuple(self._boxes(name, v) for v in value.boxes)
            )
        return _each(value, self.map)

    def map(self, values: Tensor) -> Tensor:
        """(..., H, W); what has no height and width stays as it is."""
        return values.flip(self.axis) if values.dim() >= 4 else values

    def corners(self, boxes: Tensor) -> Tensor:
        """(N, 4) x1, y1, x2, y2, or more columns after these."""
        moved, low, high = boxes.clone(), self.side, self.side + 2
        moved[:, low], moved[:, high] = self.size - boxes[:, high], self.size - boxes[:, low]
        return moved

    def _rows(self, rows: Tensor) -> Tensor:
        """(N,) places of anchors, counted over levels, then images, then cells and their anchors."""
        places, start = [], 0
        for (height, width), size in zip(self.grids, self.anchors, strict=True):
            level = torch.arange(start, start + self.images * size).view(self.images, height, width, -1)
            places.append(level.flip(2 - self.side).flatten())
            start += self.images * size
        return torch.cat(places)[rows]

    def _anchors(self, boxes: Tensor, height: int, width: int) -> Tensor:
        """(H * W * A, 4), in the order of the cells."""
        cells = self.corners(boxes).view(height, width, -1, 4)
        return cells.flip(1 - self.side).reshape(-1, 4)

    def _boxes(self, name: str, values: Tensor) -> Tensor:
        """(B, A * 4 * n, H, W): the small dense model's are distributions of distances, an RPN's deltas."""
        if name == "head":
            return self._distances(_split(self.map(values), (4, -1)), 1).flatten(1, 2)
        return self._deltas(_split(self.map(values), (-1, 4)), 2).flatten(1, 2)

    def _deltas(self, values: Tensor, dim: int) -> Tensor:
        """dx, dy, dw, dh along a dimension."""
        signs = torch.ones(4)
        signs[self.side] = -1
        return values * signs.view(4, *[1] * (values.dim() - 1 - dim))

    def _distances(self, values: Tensor, dim: int) -> Tensor:
        """Left, top, right, bottom along a dimension."""
        order = torch.tensor([2, 1, 0, 3] if self.axis == HORIZONTAL else [0, 3, 2, 1])
        return values.index_select(dim, order)


def _split(maps: Tensor, channels: tuple[int, int]) -> Tensor:
    """Return maps (B, C, H, W) with their channels as two dimensions."""
    return maps.reshape(len(maps), *channels, *maps.shape[2:])


def _each(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Change the tensors of a capture."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Logits):
        return Logits(_each(value.values, change), value.activation)
    if isinstance(value, Predictions):
        return Predictions(_each(value.logits, change), _each(value.boxes, change))
    if isinstance(value, LevelsByScale | LevelsByAnchors):
        return value
    if isinstance(value, Assignment):
        changed: dict[str, Any] = {
            name: change(part) for name, part in vars(value).items() if isinstance(part, Tensor)
        }
        return replace(value, **changed)
    if isinstance(value, Mapping):
        return {name: _each(part, change) for name, part in value.items()}
    return type(value)(_each(part, change) for part in value)


def mirror_kernels(method: nn.Module, axis: int) -> None:
    """Let a method's convolutions and other kernels work mirrored from now on."""
    for module in method.modules():
        if isinstance(module, KERNELS):
            module.register_forward_pre_hook(lambda _, inputs: tuple(each.flip(axis) for each in inputs))
            module.register_forward_hook(lambda _, __, output: output.flip(axis))
        else:
            for values in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
                if values.dim() >= 3:
                    values.data = values.data.flip(axis)
