"""The captures that a method can request from student and teacher, by family of models.

- ``backbone``: tuple of (B, C_i, H_i, W_i), the backbone's stages, finest first
- ``neck``: tuple of (B, C, H_i, W_i), the maps that the heads read, finest first. In segmentation, which has no
  neck: the one map that the classifying convolution reads
- ``rpn``: ``Predictions`` of the region proposal network (two-stage)
- ``proposals``: list over images of (N, 5) tensors x1, y1, x2, y2, score in input pixels; the student's proposals
  for both models (two-stage)
- ``rois``: (R, 5) tensor image, x1, y1, x2, y2: the student's sampled RoIs (two-stage)
- ``roi_features``: (R, C, h, w), pooled on the student's RoIs in both models (two-stage)
- ``roi_logits``: (R, classes + 1), background last, on the student's RoIs in both models (two-stage)
- ``roi_boxes``: (R, 4 * classes) or (R, 4) encoded regressions on the student's RoIs (two-stage)
- ``logits``: ``Logits``: per RoI, per anchor or point, per query of the last decoder layer, or per pixel (every
  family)
- ``softmax_logits``: the same, only for families whose classes exclude each other (two-stage, segmentation)
- ``pixel_logits``: the (B, C, H, W) tensor of the pixels' logits (segmentation)
- ``auxiliary_logits``: tuple of the (B, C, H, W) logits of each auxiliary head (segmentation; models without
  auxiliary heads are refused)
- ``head``: ``Predictions`` of a dense head (dense)
- ``head_boxes``: list over levels of (B, H_i * W_i * A, 4) decoded boxes x1, y1, x2, y2 in input pixels (dense)
- ``head_hidden``: ``Hidden``, the maps of the head's two stacks of convolutions (dense)
- ``roi_targets``: ``Assignment`` of the RoI head, on the student's sampled RoIs (two-stage)
- ``rpn_targets``: ``Assignment`` of the region proposal network, on the student's sampled anchors (two-stage)
- ``head_targets``: ``Assignment`` of a dense head, on all anchors or points on which it is trained (dense)
- ``assignments``: dict of the family's assignments: ``rpn`` and ``roi`` (two-stage), ``head`` (dense)
- ``anchors``: list over levels of (H_i * W_i * A, 4) boxes in row-major (y, x, a) order (two-stage: the RPN's;
  dense: the head's; an anchor-free head's points as squares of 8 strides)
- ``memory``: tuple of (B, C, H_i, W_i), the encoder's outputs, finest first. Padded cells are meaningless;
  ``Targets.valid`` identifies them (query)
- ``queries``: tuple over decoder layers of (B, Q, C), the queries after each layer (query)
- ``query_logits``: ``Logits`` of the queries, one (B, C, Q) per decoder layer (query)
- ``query_boxes``: tuple over decoder layers of (B, Q, 4) boxes cx, cy, w, h, relative to the image's size (query)
- ``query_targets``: tuple over decoder layers of ``Assignment``, on all queries, with the objects to which the
  student's own step matched them (query)
- ``box_levels``: function of boxes (N, 4) that returns the level of the neck, (N,) integers, that the model uses
  for
  each box (two-stage: as its RoI extractor; dense: the level whose anchors reach the largest IoU)

In the family ``query`` (DETR and its variants) denoising queries are left out. The teacher's queries are matched to
the student's and put into their order, see :func:`kdbench.distill.queries.matched_queries`.

Ground truth (boxes, labels, masks) is in ``Targets``, for every family.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from kdbench.distill.levels import LevelsByAnchors, LevelsByScale
from kdbench.distill.padding import valid_cells
from kdbench.distill.processes import processes
from kdbench.distill.regions import stride_of
from kdbench.errors import UserError
from kdbench.specs import Family

Captures = Mapping[str, Any]
"""Capture name -> value, as listed above."""

FAMILIES: Mapping[str, frozenset[str]] = {
    "two-stage": frozenset(
        {"backbone", "neck", "rpn", "proposals", "rois", "roi_features", "roi_logits", "roi_boxes", "logits"}
        | {"anchors", "box_levels", "rpn_targets", "roi_targets", "assignments", "softmax_logits"}
    ),
    "dense": frozenset(
        {"backbone", "neck", "head", "logits", "anchors", "box_levels", "head_targets", "assignments"}
        | {"head_boxes", "head_hidden"}
    ),
    "query": frozenset(
        {"backbone", "neck", "memory", "queries", "query_logits", "query_boxes", "query_targets", "logits"}
    ),
    "segmentation": frozenset(
        {"backbone", "neck", "logits", "softmax_logits", "pixel_logits", "auxiliary_logits"}
    ),
}
"""Family -> the captures that it has."""


@dataclass(frozen=True)
class Logits:
    """Class logits.

    Attributes:
        values: Tensors whose dimension 1 is the class: one (R, C + 1) in two-stage detection, one
            (B, C, A, H_i, W_i) per level in dense detection, one (B, C, Q) per decoder layer of a DETR, one
            (B, C, H, W) in segmentation.
        activation: ``softmax`` over dimension 1, or ``sigmoid`` for each class separately.
    """

    values: tuple[Tensor, ...]
    activation: Literal["softmax", "sigmoid"]


@dataclass(frozen=True)
class Predictions:
    """Raw outputs of a convolutional detection head, one entry per level.

    Attributes:
        logits: (B, A * classes, H_i, W_i) each.
        boxes: (B, A * 4 or more, H_i, W_i) each, in the head's encoding.
    """

    logits: tuple[Tensor, ...]
    boxes: tuple[Tensor, ...]


Hidden = tuple[tuple[tuple[Tensor, ...], ...], ...]
"""For each convolution of a dense head and each level, the maps of the classification and the regression branch,
(B, C, H_i, W_i) each, after the convolution's norm and before its activation."""


@dataclass(frozen=True)
class Assignment:
    """The training targets of a head in a batch, and a model's predictions at the same positions.

    The positions (RoIs, anchors, points or queries) are chosen by the student's own training step. The teacher's
    entry has the teacher's predictions at these positions, with the same labels and targets.

    Attributes:
        logits: (N, C) class logits at the sampled positions; with softmax the background is the last column.
        activation: ``softmax`` over the columns, or ``sigmoid`` for each class separately.
        labels: (N,) class indices; the background is the head's number of classes (an RPN's: 1).
        positive: (P,) indices of the positions that have a box.
        boxes: (P, 4) regressions of the positives. Delta-coded heads (RPN, RoI heads, RetinaNet): raw deltas;
            GFL and FCOS: distances left, top, right, bottom, relative to the target's width and height; a DETR:
            cx, cy, w, h, relative to the image's size.
        targets: (P, 4) targets of these regressions, in the same encoding.
        rows: (N,) index of each position among all positions of the head, counted over levels, then images, then
            cells (y, x) and anchors, as :func:`kdbench.api.rows_of` orders its maps; for a RoI head, over its RoIs;
            for a DETR, over images, then queries.
        weights: (N,) weight of each position's classification in the head's own loss.
        normaliser: () number of positives, averaged over all processes; their sum counts as at least 1.
    """

    logits: Tensor
    activation: Literal["softmax", "sigmoid"]
    labels: Tensor
    positive: Tensor
    boxes: Tensor
    targets: Tensor
    rows: Tensor
    weights: Tensor
    normaliser: Tensor


@dataclass(frozen=True)
class Targets:
    """Ground truth of a batch, in input pixels.

    Attributes:
        boxes: One (G, 4) tensor x1, y1, x2, y2 per image; empty tuple in segmentation.
        labels: One (G,) integer tensor per image; empty tuple in segmentation.
        masks: (B, H, W) class indices, or None in detection.
        image_shape: Height and width of the padded batch.
        ignore_index: Value in ``masks`` of pixels without a label.
        sizes: Height and width of each image, which is in the upper left corner of the padded batch; empty if no
            image is padded.
    """

    boxes: tuple[Tensor, ...]
    labels: tuple[Tensor, ...]
    masks: Tensor | None
    image_shape: tuple[int, int]
    ignore_index: int = 255
    sizes: tuple[tuple[int, int], ...] = ()

    def valid(self, maps: Sequence[Tensor]) -> list[Tensor] | list[None]:
        """Return which cells of each map cover their image, as :func:`valid_cells` does, or None for all cells.

        Args:
            maps: (B, ..., H, W) each; their strides are derived from their sizes.

        Returns:
            One (B, H, W) boolean tensor per map; or one None per map if no image is padded, so that a mean over all
            cells costs nothing extra. In a distributed run always tensors.
        """
        if not self.sizes and processes() == 1:
            return [None] * len(maps)
        return valid_cells(maps, self.sizes, [stride_of(level, self.image_shape) for level in maps])


def rows_of(levels: Sequence[Tensor], width: int) -> Tensor:
    """Turn the maps of a dense head into rows, one per position.

    Args:
        levels: (B, A * width, H_i, W_i) each.
        width: Number of values per position.

    Returns:
        (positions, width), ordered by level, then image, then cell (y, x) and anchor.
    """
    return torch.cat([level.permute(0, 2, 3, 1).reshape(-1, width) for level in levels])


Shape = tuple[int, ...]


@dataclass(frozen=True)
class Spread:
    """Statistics of one of the teacher's tensors on the probed batch.

    Attributes:
        lowest: Smallest value.
        deviation: Standard deviation of the values.
    """

    lowest: float
    deviation: float


@dataclass(frozen=True)
class Shapes:
    """Shapes of a method's captures on a probed batch.

    Attributes:
        student: Capture name -> shapes of the student's tensors.
        teacher: Capture name -> shapes of the teacher's tensors.
        classes: Number of classes, without background.
        image_shape: Height and width of the probed batch.
        family: Family of the student; None if unknown.
        spreads: Capture name -> statistics of the teacher's tensors, if known.
    """

    student: Mapping[str, tuple[Shape, ...]]
    teacher: Mapping[str, tuple[Shape, ...]]
    classes: int
    image_shape: tuple[int, int]
    family: Family | None = None
    spreads: Mapping[str, tuple[Spread, ...]] = field(default_factory=dict)

    def levels(self, capture: str) -> list[tuple[Shape, Shape]]:
        """Return the student's and the teacher's shape of each of a capture's tensors.

        Raises:
            UserError: If the models have different numbers of levels.
        """
        student, teacher = self.student[capture], self.teacher[capture]
        if len(student) != len(teacher):
            raise UserError(
                f"the student's {capture} has {len(student)} levels, the teacher's {len(teacher)}: "
                "choose a pair whose models have the same levels."
            )
        return list(zip(student, teacher, strict=True))


def detached(value: Any) -> Any:
    """Detach a capture's value from the graph."""
    if isinstance(value, torch.Tensor):
        return value.detach()
    if isinstance(value, LevelsByScale | LevelsByAnchors):
        return value
    if isinstance(value, Logits):
        return Logits(detached(value.values), value.activation)
    if isinstance(value, Predictions):
        return Predictions(detached(value.logits), detached(value.boxes))
    if isinstance(value, Assignment):
        return replace(value, logits=value.logits.detach(), boxes=value.boxes.detach())
    if isinstance(value, Mapping):
        return {name: detached(part) for name, part in value.items()}
    return type(value)(detached(part) for part in value)


def tensors_of(value: Any) -> tuple[Tensor, ...]:
    """Return all tensors in a capture's value."""
    if isinstance(value, torch.Tensor):
        return (value,)
    if isinstance(value, LevelsByScale | LevelsByAnchors):
        return ()
    if isinstance(value, Logits):
        return tensors_of(value.values)
    if isinstance(value, Predictions):
        return tensors_of(value.logits) + tensors_of(value.boxes)
    if isinstance(value, Assignment):
        return tensors_of((value.logits, value.boxes))
    if isinstance(value, Mapping):
        return tensors_of(tuple(value.values()))
    return tuple(tensor for part in value for tensor in tensors_of(part))


def shapes_of(value: Any) -> tuple[Shape, ...]:
    """Return the shapes of all tensors in a capture's value."""
    return tuple(tuple(tensor.shape) for tensor in tensors_of(value))


def spreads_of(value: Any) -> tuple[Spread, ...]:
    """Return the statistics of all non-empty tensors in a capture's value."""
    known = [tensor.float() for tensor in tensors_of(value) if tensor.numel()]
    return tuple(Spread(float(tensor.min()), float(tensor.std(correction=0))) for tensor in known)
