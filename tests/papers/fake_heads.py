"""Fake steps of a dense detector with all captures of its head, like GFL's, and of a segmentation model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from fake_steps import CLASSES, IMAGE, neck, squares, step, targets
from torch import Tensor, nn

from kdbench.distill import Assignment, Logits, Predictions, Step, Targets, rows_of

BINS = 6
CONVOLUTIONS = 2
STRIDES = (16, 32)


def leaves_of(*shapes: tuple[int, ...]) -> tuple[Tensor, ...]:
    return tuple(torch.randn(shape, requires_grad=True) for shape in shapes)


def decoded(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Return boxes around the anchors' centres, whose sides are decoded from the bins: (B, cells, 4)."""
    sides = 4 + 12 * boxes.unflatten(1, (4, -1)).mean(dim=2).sigmoid().flatten(2).mT
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2
    return torch.cat([centres - sides[..., :2], centres + sides[..., 2:]], dim=2)


def assigned(head: Predictions, rows: Tensor, labels: Tensor) -> Assignment:
    positive = (labels < CLASSES).nonzero().squeeze(1)
    logits, boxes = rows_of(head.logits, CLASSES)[rows], rows_of(head.boxes, 4 * BINS)[rows]
    count = torch.tensor(float(max(1, len(positive))))
    fours = boxes[positive][:, :4]
    return Assignment(
        logits, "sigmoid", labels, positive, fours, fours.detach(), rows, torch.ones(len(rows)), count
    )


def dense_captures(channels: int, rows: Tensor, labels: Tensor) -> dict[str, Any]:
    maps = tuple(level.requires_grad_() for level in neck(channels, STRIDES))
    grids = [level.shape[-2:] for level in maps]
    logits = leaves_of(*((2, CLASSES, *grid) for grid in grids))
    boxes = leaves_of(*((2, 4 * BINS, *grid) for grid in grids))
    hidden = tuple(
        tuple(leaves_of((2, channels, *grid), (2, channels, *grid)) for grid in grids)
        for _ in range(CONVOLUTIONS)
    )
    head, anchors = Predictions(logits, boxes), [squares(level) for level in maps]
    return {
        "neck": maps,
        "backbone": maps,
        "anchors": anchors,
        "logits": Logits(tuple(level.unsqueeze(2) for level in logits), "sigmoid"),
        "head": head,
        "head_boxes": [decoded(level, prior) for level, prior in zip(boxes, anchors, strict=True)],
        "head_hidden": hidden,
        "head_targets": assigned(head, rows, labels),
    }


class Tail(nn.Module):
    """Fake of the teacher's head after a convolution: a ReLU and a frozen 1x1 convolution per branch."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Conv2d(channels, width, 1) for width in (CLASSES, 4 * BINS))
        self.requires_grad_(False)

    def forward(self, hidden: Any, *, after: int) -> Predictions:
        self.after = after
        levels = [
            [branch(maps.relu()) for branch, maps in zip(self.branches, both, strict=True)] for both in hidden
        ]
        logits, boxes = zip(*levels, strict=True)
        return Predictions(logits, boxes)


def dense_step(channels: tuple[int, int] = (4, 6), positives: int = 3, truth: Targets | None = None) -> Step:
    """Return a step whose head trains on all but every third position, ``positives`` of them with a box."""
    count = 2 * sum(IMAGE[0] // stride * (IMAGE[1] // stride) for stride in STRIDES)
    rows = torch.arange(count)[torch.arange(count) % 3 > 0]
    labels = torch.full((len(rows),), CLASSES)
    labels[torch.linspace(0, len(rows) - 1, positives).long()] = torch.arange(positives) % CLASSES
    student, teacher = (dense_captures(width, rows, labels) for width in channels)
    tail = Tail(channels[1])
    images = torch.randn(2, 3, *IMAGE)
    anchors = student["anchors"]
    return Step(
        student,
        teacher,
        truth or targets(),
        images,
        0,
        100,
        teacher_tail=tail,
        teacher_boxes=lambda seen: [
            decoded(level, prior) for level, prior in zip(seen.boxes, anchors, strict=True)
        ],
    )


def segmentation_step(channels: tuple[int, int] = (4, 6), **more: Any) -> Step:
    """Return a step with masks, some of whose pixels are ignored."""
    masks = torch.randint(0, CLASSES, (2, *IMAGE))
    masks[:, :8] = 255
    on = step("segmentation", channels, strides=(16,), **more)
    return replace(on, targets=Targets((), (), masks, IMAGE))
