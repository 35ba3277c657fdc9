"""The targets of each head of a detector, and the predictions of student and teacher at the same positions.

The targets are those that the student's heads compute in its own training step: nothing is assigned or sampled
again. The predictions of both models are then gathered at these positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from kdbench.distill import Assignment, at_least_float32, reduced, rows_of
from kdbench.errors import UserError

DENSE = ("AnchorHead", "ATSSHead", "GFLHead", "FCOSHead")
"""Convolutional heads whose targets are known, as are those of classes that inherit ``get_targets``."""
DELTAS = ("AnchorHead", "ATSSHead")
"""Those whose boxes are deltas of anchors."""
SMALLEST_SIDE = 0.1
"""Least side of a box by which distances are divided, in strides."""
ROI = ("BBoxHead",)
"""RoI heads whose targets are known."""


@dataclass(frozen=True)
class Positions:
    """The positions at which a head is trained in a batch.

    Rows are counted over levels, then images, then cells (y, x) and anchors; those of a RoI head are its RoIs.

    Attributes:
        rows: (N,) sampled rows.
        labels: (N,) their classes; the background is the head's number of classes.
        weights: (N,) weights of their classification.
        positive: (P,) indices of the positives among the N.
        targets: (P, 4) encoded regression targets of the positives.
        sides: (P, 4) divisors of distances in strides; None where the regressions are deltas.
    """

    rows: Tensor
    labels: Tensor
    weights: Tensor
    positive: Tensor
    targets: Tensor
    sides: Tensor | None = None

    @cached_property
    def normaliser(self) -> Tensor:
        """The number of positives, () in float32, averaged over the processes by :func:`kdbench.api.reduced`."""
        return reduced(torch.full((), float(len(self.positive)), device=self.rows.device))


class DenseTraining:
    """A convolutional head (RPN or dense detector) in one training step.

    Args:
        head: The student's head.
        output: What its ``get_targets`` returned.
        logits: (B, A * classes, H_i, W_i), its class outputs of each level, which select hard negatives.
        boxes: (B, A * width, H_i, W_i), its box outputs of each level; only their shapes are used.
    """

    def __init__(self, head: Any, output: Any, logits: Sequence[Tensor], boxes: Sequence[Tensor]) -> None:
        self.head, self._output, self._logits, self._boxes = head, output, logits, boxes

    @cached_property
    def positions(self) -> Positions:
        """The positions of the step, with the targets in the encoding of :class:`Assignment`."""
        kind = targets_class(self.head)
        if kind == "FCOSHead":
            labels, targets = (torch.cat(part) for part in self._output)
            rows, weights = torch.arange(len(labels), device=labels.device), torch.ones_like(labels).float()
        else:
            start = int(kind in ("ATSSHead", "GFLHead"))  # which give the anchors first
            labels, weights = (_flattened(part) for part in self._output[start : start + 2])
            targets = _flattened(self._output[start + 2], 4)
            rows = self._mined((weights > 0).nonzero().squeeze(1), labels)
        positive = _positive_rows(labels[rows], self.head.num_classes)
        chosen = rows[positive]
        encoded = self._encoded(targets[chosen], chosen)
        if kind in DELTAS:
            return Positions(rows, labels[rows], weights[rows], positive, encoded)
        sides = _sides(encoded)
        return Positions(rows, labels[rows], weights[rows], positive, encoded / sides, sides)

    def _mined(self, rows: Tensor, labels: Tensor) -> Tensor:
        """Return the rows that the head's loss counts: all, but only the hard negatives of an SSD.

        Of each image SSD takes ``neg_pos_ratio`` times as many negatives as positives, those with the largest loss.
        """
        ratio = (self.head.train_cfg or {}).get("neg_pos_ratio")
        if ratio is None:
            return rows
        logits = rows_of(self._logits, self.head.cls_out_channels)[rows].detach()
        losses = functional.cross_entropy(at_least_float32(logits), labels[rows], reduction="none")
        images, negative = _images(self._boxes)[rows], labels[rows] == self.head.num_classes
        kept = ~negative
        for image in range(len(self._boxes[0])):
            own = images == image
            candidates = (own & negative).nonzero().squeeze(1)
            count = min(int(ratio * (own & ~negative).sum()), len(candidates))
            kept[candidates[losses[candidates].topk(count).indices]] = True
        return rows[kept]

    def _encoded(self, targets: Tensor, rows: Tensor) -> Tensor:
        """Encode the targets (P, 4) of these rows as deltas, or as distances in strides."""
        head, kind = self.head, targets_class(self.head)
        if kind == "FCOSHead":
            return targets if head.norm_on_bbox else targets / _strides(head, self._boxes)[rows]
        if kind in DELTAS and not head.reg_decoded_bbox:
            return targets
        anchors = _anchors(head, self._boxes)[rows]
        if kind in DELTAS:
            encoded: Tensor = head.bbox_coder.encode(anchors, targets)
            return encoded
        strides = _strides(head, self._boxes)[rows]
        centers = head.anchor_center(anchors) / strides
        distances: Tensor = head.bbox_coder.encode(centers, targets / strides, head.reg_max)
        return distances

    def seen_by(self, head: Any, logits: Sequence[Tensor], boxes: Sequence[Tensor]) -> Assignment:
        """Return what a head, the student's or the teacher's, predicts at the positions.

        Args:
            head: The head.
            logits: (B, A * classes, H_i, W_i), its class outputs of each level.
            boxes: (B, A * width, H_i, W_i), its box outputs of each level.

        Raises:
            UserError: If its classes, anchors or encoding of boxes are not the student's.
        """
        if _cells(boxes) != _cells(self._boxes) or _layout(head) != _layout(self.head):
            raise UserError(
                f"the student's {type(self.head).__name__} and the teacher's {type(head).__name__} cannot be "
                "compared position by position: choose a pair with the same kind of head, classes, "
                "anchors, strides and box encoding."
            )
        where = self.positions
        chosen = where.rows[where.positive]
        found = rows_of(boxes, _width(head))[chosen]
        if targets_class(head) == "GFLHead":
            found = integral(head, found)
        elif targets_class(head) == "FCOSHead" and not head.norm_on_bbox:
            found = found / _strides(head, boxes)[chosen]
        return Assignment(
            rows_of(logits, head.cls_out_channels)[where.rows],
            "sigmoid" if head.use_sigmoid_cls else "softmax",
            where.labels,
            where.positive,
            found if where.sides is None else found / where.sides,
            where.targets,
            where.rows,
            where.weights,
            where.normaliser,
        )


class RoiTraining:
    """A RoI head in one training step.

    Args:
        head: The student's head.
        output: What its ``get_targets`` returned.
        rois: (R, 5) the sampled RoIs.
    """

    def __init__(self, head: Any, output: Any, rois: Tensor) -> None:
        self.head, self._output, self._rois = head, output, rois

    @cached_property
    def positions(self) -> Positions:
        """The positions of the step: every sampled RoI."""
        labels, weights, targets = self._output[:3]
        positive = _positive_rows(labels, self.head.num_classes)
        chosen = targets[positive]
        if self.head.reg_decoded_bbox:
            chosen = self.head.bbox_coder.encode(self._rois[positive, 1:], chosen)
        rows = torch.arange(len(labels), device=labels.device)
        return Positions(rows, labels, weights, positive, chosen)

    def seen_by(self, head: Any, logits: Tensor, boxes: Tensor) -> Assignment:
        """Return what a head, the student's own or the teacher's, predicts for the RoIs.

        Args:
            head: The head.
            logits: (R, classes + 1), its class logits.
            boxes: (R, 4 * classes) or (R, 4), its regressions.

        Raises:
            UserError: If its classes or its encoding of boxes are not the student's.
        """
        if (head.num_classes, _coder(head)) != (self.head.num_classes, _coder(self.head)):
            raise UserError(
                "the RoI heads of student and teacher have other classes or encode boxes differently: choose a "
                "pair whose bbox_head.num_classes and bbox_head.bbox_coder are the same."
            )
        where = self.positions
        own = own_class_boxes(boxes[where.positive], where.labels[where.positive])
        return Assignment(
            logits,
            "softmax",
            where.labels,
            where.positive,
            own,
            where.targets,
            where.rows,
            where.weights,
            where.normaliser,
        )


def own_class_boxes(boxes: Tensor, labels: Tensor) -> Tensor:
    """Return each positive's regression for its own class.

    Args:
        boxes: (P, 4 * classes), or (P, 4) of a class-agnostic head.
        labels: (P,) class indices.

    Returns:
        (P, 4).
    """
    if boxes.shape[1] == 4:
        return boxes
    per_class = boxes.reshape(len(boxes), boxes.shape[1] // 4, 4)
    return per_class.gather(1, labels[:, None, None].expand(-1, 1, 4)).squeeze(1)


def targets_class(head: Any) -> str:
    """Return the name of the class that defines the head's ``get_targets``; empty if it has none."""
    found = getattr(type(head), "get_targets", None)
    return "" if found is None else str(found.__qualname__).partition(".")[0]


def is_understood(head: Any) -> bool:
    """Whether a head's targets are known."""
    return targets_class(head) in DENSE + ROI


def check_understood(head: Any) -> None:
    """Refuse a head whose targets are unknown.

    Raises:
        UserError: With the heads that work.
    """
    if not is_understood(head):
        raise UserError(
            f"cannot see what a {type(head).__name__} is trained on: choose a pair whose heads are AnchorHead "
            "(RPN, RetinaNet, SSD), ATSSHead, GFLHead, FCOSHead or BBoxHead, or inherit get_targets from one of "
            "these."
        )


def _positive_rows(labels: Tensor, classes: int) -> Tensor:
    return ((labels >= 0) & (labels < classes)).nonzero().squeeze(1)


def _flattened(levels: Sequence[Tensor], *width: int) -> Tensor:
    """Join the levels (B, n_i, *width) to (rows, *width)."""
    return torch.cat([level.reshape(-1, *width) for level in levels])


def _width(head: Any) -> int:
    """Return how many numbers a convolutional head outputs for a box."""
    return 4 * (int(head.reg_max) + 1) if targets_class(head) == "GFLHead" else 4


def _cells(boxes: Sequence[Tensor]) -> list[tuple[int, ...]]:
    """Return the number of images, height and width of each level."""
    return [(len(level), *level.shape[-2:]) for level in boxes]


def _images(boxes: Sequence[Tensor]) -> Tensor:
    """Return the image of each row, (rows,), for boxes of 4 numbers."""
    device = boxes[0].device
    return torch.cat(
        [torch.arange(len(level), device=device).repeat_interleave(level[0].numel() // 4) for level in boxes]
    )


def stride_of_level(head: Any, level: int) -> float:
    """Return the stride of a level, in input pixels."""
    stride = head.prior_generator.strides[level]
    return float(stride[0] if isinstance(stride, tuple) else stride)


def _strides(head: Any, boxes: Sequence[Tensor]) -> Tensor:
    """Return the stride of each row, (rows, 1)."""
    counts = [level.numel() // _width(head) for level in boxes]
    device = boxes[0].device
    return torch.cat(
        [
            torch.full((count, 1), stride_of_level(head, level), device=device)
            for level, count in enumerate(counts)
        ]
    )


def _anchors(head: Any, boxes: Sequence[Tensor]) -> Tensor:
    """Return the anchor of each row, (rows, 4)."""
    sizes = [level.shape[-2:] for level in boxes]
    anchors = head.prior_generator.grid_priors(sizes, device=boxes[0].device)
    return torch.cat([part.repeat(len(level), 1) for part, level in zip(anchors, boxes, strict=True)])


def _sides(distances: Tensor) -> Tensor:
    """Return width, height, width, height (P, 4) of boxes given by distances (P, 4) left, top, right, bottom.

    The error of an untrained head is several strides; divided by the box's side it is about 1, as that of deltas.
    """
    return (distances[:, :2] + distances[:, 2:]).clamp(min=SMALLEST_SIDE).repeat(1, 2)


def integral(head: Any, rows: Tensor) -> Tensor:
    """Return the mean distances (P, 4) of distributions (P, 4 * (reg_max + 1)), unrounded by autocast."""
    with torch.autocast(rows.device.type, enabled=False):
        distances: Tensor = head.integral(at_least_float32(rows))
    return distances


def _coder(head: Any) -> tuple[Any, ...]:
    """Return the type and the options of a head's box coder."""
    coder = head.bbox_coder
    return (type(coder).__name__, *(getattr(coder, name, None) for name in ("means", "stds", "normalizer")))


def _layout(head: Any) -> tuple[Any, ...]:
    """Return what two convolutional heads must share: kind, classes, box encoding, strides, anchors of a cell."""
    generator = head.prior_generator
    anchors = [base.tolist() for base in getattr(generator, "base_anchors", ())]
    classes = head.use_sigmoid_cls, head.cls_out_channels
    return (targets_class(head), classes, _coder(head), list(generator.strides), anchors)
