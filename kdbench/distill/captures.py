"""The semantic captures: what a method may ask of a student and a teacher, and in which family.

- ``backbone``: tuple of (B, C_i, H_i, W_i), the backbone's stages, finest first
- ``neck``: tuple of (B, C, H_i, W_i), the maps that the heads read, finest first. In segmentation, which has no
  neck: the one map that the classifying convolution reads
- ``rpn``: ``Predictions`` of the region proposal network (two-stage)
- ``proposals``: list over images of (N, 5) tensors x1, y1, x2, y2, score in input pixels (two-stage). The
  teacher's entry is the student's
- ``rois``: (R, 5) tensor image, x1, y1, x2, y2: the student's sampled RoIs (two-stage)
- ``roi_features``: (R, C, h, w), pooled on the student's RoIs in both models (two-stage)
- ``roi_logits``: (R, classes + 1), background last, on the student's RoIs in both models (two-stage)
- ``roi_boxes``: (R, 4 * classes) or (R, 4) encoded regressions on the student's RoIs (two-stage)
- ``logits``: ``Logits``: per RoI, per anchor or point, per query of the last decoder layer, or per pixel (every
  family)
- ``softmax_logits``: the same, of heads whose classes exclude each other (two-stage, segmentation)
- ``pixel_logits``: the (B, C, H, W) tensor of the pixels' logits (segmentation)
- ``auxiliary_logits``: tuple of the (B, C, H, W) logits of each auxiliary head (segmentation; a model may have
  none, and is refused then)
- ``head``: ``Predictions`` of a dense head (dense)
- ``head_boxes``: list over levels of (B, H_i * W_i * A, 4) decoded boxes x1, y1, x2, y2 in input pixels (dense)
- ``head_hidden``: ``Hidden``, the maps of the head's two stacks of convolutions (dense)
- ``roi_targets``: ``Assignment`` of the RoI head, on the student's sampled RoIs (two-stage)
- ``rpn_targets``: ``Assignment`` of the region proposal network, on the student's sampled anchors (two-stage)
- ``head_targets``: ``Assignment`` of a dense head, on all anchors or points that it is trained on (dense)
- ``assignments``: dict of the family's assignments: ``rpn`` and ``roi`` (two-stage), ``head`` (dense)
- ``anchors``: list over levels of (H_i * W_i * A, 4) boxes in row-major (y, x, a) order (two-stage: the RPN's;
  dense: the head's; an anchor-free head's points as squares of 8 strides)
- ``memory``: tuple of (B, C, H_i, W_i), what the encoder makes of the maps that it reads, finest first (query). Its
  padded cells hold nothing: ``Targets.valid`` tells them
- ``queries``: tuple over decoder layers of (B, Q, C), the queries behind each layer (query)
- ``query_logits``: ``Logits`` of the queries, one (B, C, Q) a decoder layer (query)
- ``query_boxes``: tuple over decoder layers of (B, Q, 4) boxes cx, cy, w, h as parts of the image's size (query)
- ``query_targets``: tuple over decoder layers of ``Assignment``, on all queries: the object, if any, that the
  student's own step matched each with (query)
- ``box_levels``: function of boxes (N, 4): the level of the neck, (N,) integers, that the model itself takes each
  from (two-stage: as its RoI extractor; dense: the level whose anchors reach the largest IoU)

In the family ``query`` (DETR and its kin) the queries of denoising are left out, and the teacher's entries have a
query for each of the student's, in the student's order: see :func:`kdbench.distill.queries.matched_queries`.

Ground truth (boxes, labels, masks) is in ``Targets``, in every family that has it.
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
            (B, C, A, H_i, W_i) a level in dense detection, one (B, C, Q) a decoder layer of a DETR, one
            (B, C, H, W) in segmentation.
        activation: ``softmax`` over dimension 1, or ``sigmoid``: every class on its own.
    """

    values: tuple[Tensor, ...]
    activation: Literal["softmax", "sigmoid"]


@dataclass(frozen=True)
class Predictions:
    """Raw outputs of a convolutional detection head, one entry a level.

    Attributes:
        logits: (B, A * classes, H_i, W_i) each.
        boxes: (B, A * 4 or more, H_i, W_i) each, encoded as the head does.
    """

    logits: tuple[Tensor, ...]
    boxes: tuple[Tensor, ...]


Hidden = tuple[tuple[tuple[Tensor, ...], ...], ...]
"""For each convolution of a dense head and each level, the classifying and the regressing branch's map: (B, C, H_i,
W_i) each, after the convolution's norm and before its activation."""


@dataclass(frozen=True)
class Assignment:
    """What a head is trained on in a batch, and what a model says there.

    The positions (RoIs, anchors, points or queries) are those that the student's own training step chose; the
    teacher's entry has its own predictions at the same positions, and the same labels and targets.

    Attributes:
        logits: (N, C) class logits at the sampled positions; with softmax the background is the last column.
        activation: ``softmax`` over the columns, or ``sigmoid``: every class on its own.
        labels: (N,) class indices; the background is the head's number of classes (an RPN's: 1).
        positive: (P,) which of the N positions have a box.
        boxes: (P, 4) regressions of the positives. Delta-coded heads (RPN, RoI heads, RetinaNet): raw deltas;
            GFL and FCOS: distances left, top, right, bottom, as parts of the target's width and height; a DETR:
            cx, cy, w, h as parts of the image's size.
        targets: (P, 4) what these should be, in the same encoding.
        rows: (N,) place of each position among all of the head's, counted over levels, then images, then cells
            (y, x) and anchors, as :func:`kdbench.api.rows_of` orders its maps; of a RoI head over its RoIs; of a
            DETR over images, then queries.
        weights: (N,) what the classification of each position counts in the head's own loss.
        normaliser: () number of positives: the mean over all processes, whose sum counts as at least 1.
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
        boxes: One (G, 4) tensor x1, y1, x2, y2 an image; empty tuple in segmentation.
        labels: One (G,) integer tensor an image; empty tuple in segmentation.
        masks: (B, H, W) class indices, or None in detection.
        image_shape: Height and width of the padded batch.
        ignore_index: Value in ``masks`` that is not judged.
        sizes: Height and width of each image, which lies in the upper left corner of the padded batch; empty
            where no image is padded.
    """

    boxes: tuple[Tensor, ...]
    labels: tuple[Tensor, ...]
    masks: Tensor | None
    image_shape: tuple[int, int]
    ignore_index: int = 255
    sizes: tuple[tuple[int, int], ...] = ()

    def valid(self, maps: Sequence[Tensor]) -> list[Tensor] | list[None]:
        """Return which cells of each map see their image, as :func:`valid_cells` does, or None where all do.

        Args:
            maps: (B, ..., H, W) each; their strides follow from their sizes.

        Returns:
            (B, H, W) booleans each, in a distributed run always; None each where no image is padded: a mean
            over all cells costs nothing more then.
        """
        if not self.sizes and processes() == 1:
            return [None] * len(maps)
        return valid_cells(maps, self.sizes, [stride_of(level, self.image_shape) for level in maps])


def rows_of(levels: Sequence[Tensor], width: int) -> Tensor:
    """Put the maps of a dense head into rows, one for each position.

    Args:
        levels: (B, A * width, H_i, W_i) each.
        width: Numbers for a position.

    Returns:
        (positions, width), counted over levels, then images, then cells (y, x) and anchors.
    """
    return torch.cat([level.permute(0, 2, 3, 1).reshape(-1, width) for level in levels])


Shape = tuple[int, ...]


@dataclass(frozen=True)
class Spread:
    """What values one of the teacher's tensors has on the probed batch.

    Attributes:
        lowest: The smallest.
        deviation: Their standard deviation.
    """

    lowest: float
    deviation: float


@dataclass(frozen=True)
class Shapes:
    """Probed shapes of the captures that a method asked for.

    Attributes:
        student: Capture name -> shape of each of its tensors.
        teacher: The same for the teacher.
        classes: Number of classes, without background.
        image_shape: Height and width of the probed batch.
        family: The student's, None if unknown.
        spreads: Capture name -> values of each of the teacher's tensors, where they are known.
    """

    student: Mapping[str, tuple[Shape, ...]]
    teacher: Mapping[str, tuple[Shape, ...]]
    classes: int
    image_shape: tuple[int, int]
    family: Family | None = None
    spreads: Mapping[str, tuple[Spread, ...]] = field(default_factory=dict)

    def levels(self, capture: str) -> list[tuple[Shape, Shape]]:
        """Student's and teacher's shape of each of a capture's tensors.

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
    """Return a capture's value without gradients."""
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
    """Every tensor in a capture's value."""
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
    """Shapes of every tensor in a capture's value."""
    return tuple(tuple(tensor.shape) for tensor in tensors_of(value))


def spreads_of(value: Any) -> tuple[Spread, ...]:
    """Values of every tensor in a capture's value that has some."""
    known = [tensor.float() for tensor in tensors_of(value) if tensor.numel()]
    return tuple(Spread(float(tensor.min()), float(tensor.std(correction=0))) for tensor in known)
