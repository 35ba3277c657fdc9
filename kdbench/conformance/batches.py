"""Transformations of a batch that must not change the losses: images in another order, or mirrored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from kdbench.distill import Assignment, Captures, Logits, Predictions, Step
from kdbench.distill.levels import LevelsByAnchors, LevelsByScale

AT_ROIS = frozenset({"roi_features", "roi_logits", "roi_boxes", "logits", "softmax_logits"})
"""Captures of a two-stage model with one row per RoI of the student."""
SHARED = frozenset({"anchors", "box_levels"})
"""Captures that do not depend on the images."""
HORIZONTAL, VERTICAL = -1, -2
"""Dimensions of a map along which it can be mirrored."""
Grid = tuple[int, int]
"""Height and width of a map, in cells."""
KERNELS = (nn.Conv2d, nn.ConvTranspose2d, nn.MaxPool2d, nn.AvgPool2d)


def _captures(step: Step, change: Callable[[str, Any], Any]) -> dict[str, Any]:
    """Return the fields of a step that hold captures, with ``change`` applied to each capture."""

    def changed(values: Captures) -> dict[str, Any]:
        return {name: change(name, value) for name, value in values.items()}

    others = tuple(map(changed, step.others))
    return {"student": changed(step.student), "teacher": changed(step.teacher), "others": others}


def copied(step: Step) -> Step:
    """Return a step whose tensors are copies."""
    copy = partial(_each, change=torch.clone)
    targets = step.targets
    return replace(
        step,
        **_captures(step, lambda _, value: copy(value)),
        images=step.images.clone(),
        targets=replace(
            targets,
            boxes=copy(targets.boxes),
            labels=copy(targets.labels),
            masks=None if targets.masks is None else targets.masks.clone(),
        ),
    )


def reordered(step: Step, order: Sequence[int]) -> Step:
    """Return a step with its images in another order.

    Args:
        step: The step; in a two-stage family its ``student`` must have the ``rois``.
        order: Position in the new batch -> position in the old one.
    """
    change = _Order(step, order)
    targets = step.targets
    return replace(
        step,
        **_captures(step, change.capture),
        images=step.images[list(order)],
        targets=replace(
            targets,
            boxes=tuple(targets.boxes[old] for old in order if targets.boxes),
            labels=tuple(targets.labels[old] for old in order if targets.labels),
            masks=None if targets.masks is None else targets.masks[list(order)],
            sizes=tuple(targets.sizes[old] for old in order if targets.sizes),
        ),
    )


class _Order:
    """Reordering of the images of a step, with everything that belongs to them.

    Args:
        step: The step.
        order: Position in the new batch -> position in the old one.
    """

    def __init__(self, step: Step, order: Sequence[int]) -> None:
        self.order, self.positions = list(order), HeadPositions(step)
        self.places = torch.tensor([self.order.index(old) for old in range(len(self.order))])
        """Position in the old batch -> position in the new one."""
        rois = step.student.get("rois")
        self.rows = None if rois is None else self.places[rois[:, 0].long()].argsort(stable=True)
        """New row of a RoI -> old row."""

    def capture(self, name: str, value: Any) -> Any:
        """Return a capture with the images in the new order."""
        if name == "rois":
            moved = value[self.rows].clone()
            moved[:, 0] = self.places[moved[:, 0].long()].to(moved.dtype)
            return moved
        if name == "proposals":
            return [value[old] for old in self.order]
        if name == "assignments":
            return {head: self.capture(f"{head}_targets", part) for head, part in value.items()}
        if name == "query_targets":
            return tuple(arranged(part, self._queries_of(part.rows)) for part in value)
        if isinstance(value, Assignment):
            return arranged(value, self._rows_of(name, value.rows))
        if name in SHARED:
            return value
        rows = self.rows if self.rows is not None and name in AT_ROIS else self.order
        return _each(value, lambda part: part[rows])

    def _queries_of(self, rows: Tensor) -> Tensor:
        """Return the new rows of queries, which are ordered by image."""
        count = len(rows) // len(self.places)
        return self.places[rows // count] * count + rows % count

    def _rows_of(self, name: str, rows: Tensor) -> Tensor:
        if name == "roi_targets" and self.rows is not None:
            return self.rows.argsort()[rows]
        return self.positions.moved(rows, lambda image, y, x, _grid: (self.places[image], y, x))


class HeadPositions:
    """The positions of a convolutional head, ordered by level, then image, then cell and anchor.

    Args:
        step: The step; its ``student`` must have the ``neck`` and, if there are such heads, ``anchors``.
    """

    def __init__(self, step: Step) -> None:
        maps, anchors = step.student["neck"], step.student.get("anchors", ())
        self.grids = [(level.shape[-2], level.shape[-1]) for level in maps]
        self.images = len(maps[0])
        cells = [height * width for height, width in self.grids]
        self.anchors = [len(part) // count for part, count in zip(anchors, cells, strict=False)]

    def moved(
        self, rows: Tensor, change: Callable[[Tensor, Tensor, Tensor, Grid], Sequence[Tensor]]
    ) -> Tensor:
        """Return the new rows of positions, whose image, y and x a function computes from the old ones."""
        found, start = torch.full_like(rows, -1), 0
        for (height, width), anchors in zip(self.grids, self.anchors, strict=True):
            count = self.images * height * width * anchors
            here = (rows >= start) & (rows < start + count)
            place = torch.unravel_index(rows[here] - start, (self.images, height, width, anchors))
            image, y, x = change(place[0], place[1], place[2], (height, width))
            anchor = place[3]
            found[here] = start + ((image * height + y) * width + x) * anchors + anchor
            start += count
        return found


def arranged(value: Assignment, rows: Tensor) -> Assignment:
    """Return an assignment with other rows, sorted by row."""
    order = rows.argsort()
    positive, by = order.argsort()[value.positive].sort()
    return replace(
        value,
        logits=value.logits[order],
        labels=value.labels[order],
        positive=positive,
        boxes=value.boxes[by],
        targets=value.targets[by],
        rows=rows[order],
        weights=value.weights[order],
    )


def mirrored(step: Step, axis: int) -> Step:
    """Return a step whose images, maps, boxes and masks are mirrored.

    Args:
        step: The step; its ``student`` must have the ``neck``.
        axis: ``HORIZONTAL`` or ``VERTICAL``.
    """
    mirror = Mirror(step, axis)
    targets = step.targets
    return replace(
        step,
        **_captures(step, mirror.capture),
        teacher_tail=mirror.tail,
        teacher_boxes=mirror.boxes,
        images=step.images.flip(axis),
        targets=replace(
            targets,
            boxes=tuple(map(mirror.corners, targets.boxes)),
            masks=None if targets.masks is None else targets.masks.flip(axis),
        ),
    )


class Mirror:
    """Mirroring of everything in a step.

    Args:
        step: The step.
        axis: ``HORIZONTAL`` or ``VERTICAL``.
    """

    def __init__(self, step: Step, axis: int) -> None:
        self.step, self.positions, self.axis = step, HeadPositions(step), axis
        self.size, self.grids = step.targets.image_shape[axis], self.positions.grids
        self.side = 0 if axis == HORIZONTAL else 1
        """Index of x1 or y1 in a box, of dx or dy in its deltas, and of the distance to the left or the top."""

    def capture(self, name: str, value: Any) -> Any:
        """Return a capture as it would be on the mirrored images."""
        if name == "proposals":
            return [self.corners(part) for part in value]
        if name == "rois":
            return torch.cat([value[:, :1], self.corners(value[:, 1:])], dim=1)
        if name == "anchors":
            return [self._anchors(part, *grid) for part, grid in zip(value, self.grids, strict=True)]
        if name == "head_boxes":
            return [self._anchors(part, *grid) for part, grid in zip(value, self.grids, strict=True)]
        if name == "query_boxes":
            return tuple(map(self._places, value))
        if name == "query_targets":
            return tuple(
                replace(part, boxes=self._places(part.boxes), targets=self._places(part.targets))
                for part in value
            )
        if isinstance(value, LevelsByAnchors):
            return LevelsByAnchors(tuple(map(self.corners, value.anchors)))
        if name == "roi_boxes":
            return self._deltas(value.unflatten(1, (-1, 4)), 2).flatten(1)
        if name == "assignments":
            return {head: self.capture(f"{head}_targets", part) for head, part in value.items()}
        if isinstance(value, Assignment):
            return self._assignment(name, value)
        if isinstance(value, Predictions):
            return Predictions(
                _each(value.logits, self.map), tuple(self._boxes(name, v) for v in value.boxes)
            )
        return _each(value, self.map)

    def map(self, values: Tensor) -> Tensor:
        """Mirror maps (..., H, W); tensors without height and width are unchanged."""
        return values.flip(self.axis) if values.dim() >= 4 else values

    def corners(self, boxes: Tensor) -> Tensor:
        """Mirror boxes (..., 4) x1, y1, x2, y2; further columns are unchanged."""
        moved, low, high = boxes.clone(), self.side, self.side + 2
        moved[..., low], moved[..., high] = self.size - boxes[..., high], self.size - boxes[..., low]
        return moved

    def _places(self, boxes: Tensor) -> Tensor:
        """Mirror boxes (..., 4) cx, cy, w, h, relative to the image's size."""
        moved = boxes.clone()
        moved[..., self.side] = 1 - boxes[..., self.side]
        return moved

    def tail(self, hidden: Any, after: int) -> Predictions:
        """Run the teacher's head on unmirrored maps, and mirror its predictions."""
        plain = [[self.map(branch) for branch in branches] for branches in hidden]
        predictions: Predictions = self.capture("head", self.step.teacher_tail(plain, after=after))
        return predictions

    def boxes(self, predictions: Predictions) -> list[Tensor]:
        """Decode unmirrored predictions, and mirror the boxes."""
        boxes: list[Tensor] = self.capture(
            "head_boxes", self.step.teacher_boxes(self.capture("head", predictions))
        )
        return boxes

    def _anchors(self, boxes: Tensor, height: int, width: int) -> Tensor:
        """Mirror boxes (..., H * W * A, 4), which are in the order of the cells."""
        cells = self.corners(boxes).reshape(*boxes.shape[:-2], height, width, -1, 4)
        return cells.flip(-3 if self.axis == HORIZONTAL else -4).reshape(boxes.shape)

    def _assignment(self, name: str, value: Assignment) -> Assignment:
        encoded = self._distances if name == "head_targets" else self._deltas
        turned = replace(value, boxes=encoded(value.boxes, 1), targets=encoded(value.targets, 1))
        return (
            turned
            if name == "roi_targets"
            else arranged(turned, self.positions.moved(value.rows, self._cell))
        )

    def _cell(self, image: Tensor, y: Tensor, x: Tensor, grid: Grid) -> Sequence[Tensor]:
        if self.axis == HORIZONTAL:
            return image, y, grid[1] - 1 - x
        return image, grid[0] - 1 - y, x

    def _boxes(self, name: str, values: Tensor) -> Tensor:
        """Mirror box predictions (B, A * 4 * n, H, W): distributions of distances (dense), or deltas (RPN)."""
        if name == "head":
            return self._distances(_split(self.map(values), (4, -1)), 1).flatten(1, 2)
        return self._deltas(_split(self.map(values), (-1, 4)), 2).flatten(1, 2)

    def _deltas(self, values: Tensor, dim: int) -> Tensor:
        """Mirror deltas dx, dy, dw, dh along a dimension."""
        signs = torch.ones(4)
        signs[self.side] = -1
        return values * signs.view(4, *[1] * (values.dim() - 1 - dim))

    def _distances(self, values: Tensor, dim: int) -> Tensor:
        """Mirror distances left, top, right, bottom along a dimension."""
        order = torch.tensor([2, 1, 0, 3] if self.axis == HORIZONTAL else [0, 3, 2, 1])
        return values.index_select(dim, order)


def _split(maps: Tensor, channels: tuple[int, int]) -> Tensor:
    """Split the channels of maps (B, C, H, W) into two dimensions."""
    return maps.reshape(len(maps), *channels, *maps.shape[2:])


def _each(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Apply a change to all tensors of a capture."""
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
    """Make a method's convolutions and other kernels work mirrored from now on."""
    for module in method.modules():
        if isinstance(module, KERNELS):
            module.register_forward_pre_hook(lambda _, inputs: tuple(each.flip(axis) for each in inputs))
            module.register_forward_hook(lambda _, __, output: output.flip(axis))
        else:
            for values in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
                if values.dim() >= 3:
                    values.data = values.data.flip(axis)
