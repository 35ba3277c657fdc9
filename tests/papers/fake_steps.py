"""Fake captures, shapes and steps of every family."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from kdbench.distill import Assignment, Logits, Method, Shapes, Step, Targets
from kdbench.distill.captures import shapes_of, spreads_of, tensors_of
from kdbench.distill.levels import LevelsByAnchors, LevelsByScale
from kdbench.specs import Family

IMAGE = (64, 96)
CLASSES = 3


def neck(channels: int, strides: Sequence[int], batch: int = 2) -> tuple[Tensor, ...]:
    return tuple(torch.randn(batch, channels, IMAGE[0] // s, IMAGE[1] // s) for s in strides)


def proposals(counts: Sequence[int]) -> list[Tensor]:
    parts = []
    for count in counts:
        corner = torch.rand(count, 2) * 40
        parts.append(torch.cat([corner, corner + 4 + torch.rand(count, 2) * 20, torch.rand(count, 1)], dim=1))
    return parts


def targets(counts: Sequence[int] = (2, 1)) -> Targets:
    boxes = tuple(part[:, :4] for part in proposals(counts))
    labels = tuple(torch.zeros(len(part), dtype=torch.long) for part in boxes)
    return Targets(boxes, labels, None, IMAGE)


def captures(
    family: str, channels: int, strides: Sequence[int], regions: Any = None, finest: float = 112
) -> dict[str, Any]:
    maps = neck(channels, strides)
    logits: dict[str, Logits] = {
        "two-stage": Logits((torch.randn(10, CLASSES + 1),), "softmax"),
        "dense": Logits(tuple(torch.randn(2, CLASSES, 2, *m.shape[-2:]) for m in maps), "sigmoid"),
        "query": Logits((torch.randn(2, CLASSES, 7),), "sigmoid"),
        "segmentation": Logits((torch.randn(2, CLASSES, *maps[0].shape[-2:]),), "softmax"),
    }
    values = {"neck": maps, "backbone": maps, "logits": logits[family]}
    if family in ("two-stage", "segmentation"):
        values["softmax_logits"] = logits[family]
    if family == "segmentation":
        values["pixel_logits"] = torch.randn(2, CLASSES, *maps[0].shape[-2:])
    if family == "two-stage":
        values |= {
            "proposals": proposals((20, 30)) if regions is None else regions,
            "roi_logits": torch.randn(10, CLASSES + 1),
            "roi_boxes": torch.randn(10, 4 * CLASSES),
            "roi_features": torch.randn(10, channels, 5, 5),
            "roi_targets": assignment(),
            "box_levels": LevelsByScale(len(maps), finest),
        }
    if family == "dense":
        values["box_levels"] = LevelsByAnchors(tuple(squares(level) for level in maps))
    return values


def assignment() -> Assignment:
    """Return a RoI head's assignment of 10 RoIs, of which 3 have a box."""
    labels = torch.tensor([0, 2, 1] + [CLASSES] * 7)
    logits, boxes, truth = torch.randn(10, CLASSES + 1), torch.randn(3, 4), torch.randn(3, 4)
    rows = torch.arange(10)
    return Assignment(
        logits, "softmax", labels, torch.arange(3), boxes, truth, rows, torch.ones(10), torch.tensor(3.0)
    )


def squares(level: Tensor) -> Tensor:
    """Return one anchor with a side of four strides for each cell of a map."""
    stride = IMAGE[0] // level.shape[-2]
    rows, columns = torch.meshgrid(*(torch.arange(n) * stride for n in level.shape[-2:]), indexing="ij")
    centres = torch.stack([columns, rows], dim=-1).flatten(0, 1).float() + stride / 2
    return torch.cat([centres - 2 * stride, centres + 2 * stride], dim=1)


def requiring(values: dict[str, Any]) -> dict[str, Any]:
    """Return the captures as leaf tensors that require gradients."""

    def leaf(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.detach().clone().requires_grad_()
        if isinstance(value, Logits):
            return Logits(tuple(leaf(v) for v in value.values), value.activation)
        if isinstance(value, Assignment):
            return replace(value, logits=leaf(value.logits), boxes=leaf(value.boxes))
        if isinstance(value, LevelsByScale | LevelsByAnchors):
            return value
        return type(value)(leaf(v) for v in value)

    return {name: leaf(value) for name, value in values.items()}


def leaves(values: dict[str, Any], name: str) -> list[Tensor]:
    return list(tensors_of(values[name]))


def step(
    family: str = "two-stage",
    channels: tuple[int, int] = (4, 6),
    strides: Sequence[int] = (8, 16),
    teacher_strides: Sequence[int] | None = None,
    iteration: int = 0,
    truth: Targets | None = None,
    regions: Any = None,
    finest: float = 112,
) -> Step:
    student = requiring(captures(family, channels[0], strides, regions, finest))
    teacher = requiring(captures(family, channels[1], teacher_strides or strides, regions, finest))
    truth = truth or targets()
    images = torch.randn(2, 3, *truth.image_shape)
    return Step(student, teacher, truth, images, iteration, 100)


def family_of(on: Step) -> Family:
    if "pixel_logits" in on.student:
        return "segmentation"
    return "two-stage" if "roi_logits" in on.student else "dense"


def built(method: type[Method[Any]], options: Any, on: Step, family: Family | None = None) -> Method[Any]:
    made = method(options)
    names = [*made.needs(), *(name for name in made.wants() if name in on.student)]
    made.build(
        Shapes(
            {name: shapes_of(on.student[name]) for name in names},
            {name: shapes_of(on.teacher[name]) for name in names},
            CLASSES,
            IMAGE,
            family,
            {name: spreads_of(on.teacher[name]) for name in names},
        )
    )
    return made


def total(terms: dict[str, Tensor]) -> Tensor:
    loss = torch.stack(list(terms.values())).sum()
    assert torch.isfinite(loss)
    assert all(term.dim() == 0 and term.dtype == torch.float32 for term in terms.values())
    return loss
