"""Fake captures, shapes and steps of the three families."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from kdbench.distill import Logits, Method, Shapes, Step, Targets
from kdbench.distill.captures import shapes_of
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


def captures(family: str, channels: int, strides: Sequence[int], regions: Any = None) -> dict[str, Any]:
    maps = neck(channels, strides)
    logits: dict[str, Logits] = {
        "two-stage": Logits((torch.randn(10, CLASSES + 1),), "softmax"),
        "dense": Logits(tuple(torch.randn(2, CLASSES, 2, *m.shape[-2:]) for m in maps), "sigmoid"),
        "segmentation": Logits((torch.randn(2, CLASSES, *maps[0].shape[-2:]),), "softmax"),
    }
    values = {"neck": maps, "backbone": maps, "logits": logits[family]}
    if family != "dense":
        values["softmax_logits"] = logits[family]
    if family == "segmentation":
        values["pixel_logits"] = torch.randn(2, CLASSES, *maps[0].shape[-2:])
    if family == "two-stage":
        values |= {
            "proposals": proposals((20, 30)) if regions is None else regions,
            "roi_logits": torch.randn(10, CLASSES + 1),
            "roi_boxes": torch.randn(10, 4 * CLASSES),
            "roi_features": torch.randn(10, channels, 5, 5),
        }
    return values


def requiring(values: dict[str, Any]) -> dict[str, Any]:
    """The same captures as leaves that need gradients."""

    def leaf(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.detach().clone().requires_grad_()
        if isinstance(value, Logits):
            return Logits(tuple(leaf(v) for v in value.values), value.activation)
        return type(value)(leaf(v) for v in value)

    return {name: leaf(value) for name, value in values.items()}


def leaves(values: dict[str, Any], name: str) -> list[Tensor]:
    value = values[name]
    if isinstance(value, Tensor):
        return [value]
    return list(value.values if isinstance(value, Logits) else value)


def step(
    family: str = "two-stage",
    channels: tuple[int, int] = (4, 6),
    strides: Sequence[int] = (8, 16),
    teacher_strides: Sequence[int] | None = None,
    iteration: int = 0,
    truth: Targets | None = None,
    regions: Any = None,
) -> Step:
    student = requiring(captures(family, channels[0], strides, regions))
    teacher = requiring(captures(family, channels[1], teacher_strides or strides, regions))
    truth = truth or targets()
    images = torch.randn(2, 3, *truth.image_shape)
    return Step(student, teacher, truth, images, iteration, 100)


def family_of(on: Step) -> Family:
    if "pixel_logits" in on.student:
        return "segmentation"
    return "two-stage" if "roi_logits" in on.student else "dense"


def built(method: type[Method[Any]], options: Any, on: Step) -> Method[Any]:
    made = method(options)
    names = [*made.needs(), *(name for name in made.wants() if name in on.student)]
    made.build(
        Shapes(
            {name: shapes_of(on.student[name]) for name in names},
            {name: shapes_of(on.teacher[name]) for name in names},
            CLASSES,
            IMAGE,
            family_of(on),
        )
    )
    return made


def total(terms: dict[str, Tensor]) -> Tensor:
    loss = torch.stack(list(terms.values())).sum()
    assert torch.isfinite(loss)
    assert all(term.dim() == 0 and term.dtype == torch.float32 for term in terms.values())
    return loss
