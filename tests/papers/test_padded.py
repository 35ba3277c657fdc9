"""Cells that only cover padding do not affect any loss on whole maps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from fake_steps import built, step, total
from torch import Tensor, nn

from kdbench.distill import Logits, Step, valid_cells
from kdbench.distill.captures import tensors_of
from kdbench.plugins import make_method, registry
from kdbench.selectors import parse, resolve

SIZES = ((64, 33), (17, 96))
WHOLE_MAPS = [
    ("two-stage", "fitnets"),
    ("two-stage", "chen[variant=hints-a]"),
    ("two-stage", "mimic[variant=whole-map]"),
    ("two-stage", "fine-grained[variant=full,held=0]"),
    ("two-stage", "structured[variant=pair]"),
    ("two-stage", "structured[variant=pair,nodes=3]"),
    ("two-stage", "structured[variant=local]"),
    ("two-stage", "pkd"),
    ("two-stage", "cwd"),
    ("two-stage", "cwd[normalise=l2]"),
    ("two-stage", "cwd[normalise=none]"),
    ("two-stage", "chen[variant=hints,hint_norm=l1]"),
    ("dense", "hinton"),
    ("dense", "hinton[normaliser=positions]"),
    ("dense", "hinton[matching=true]"),
    ("dense", "cwd[where=logits]"),
    ("two-stage", "at"),
    ("two-stage", "mgd[variant=no-mask]"),
    ("two-stage", "fgd"),
    ("two-stage", "reviewkd"),
    ("two-stage", "defeat[variant=neck]"),
    ("two-stage", "fbkd"),
    ("segmentation", "dist"),
    ("segmentation", "hinton"),
    ("segmentation", "structured[variant=pixel]"),
    ("segmentation", "fitnets[kd_weight=1]"),
]


def padded(on: Step, filler: float) -> Step:
    """Return the step with a value in the cells of all maps outside of the images."""

    def filled(value: Any) -> Any:
        if isinstance(value, Tensor) and value.dim() >= 4 and len(value) == len(SIZES):
            stride = 64 // value.shape[-2]
            (cells,) = valid_cells([value], SIZES, [stride])
            cells = cells.view(len(cells), *(1,) * (value.dim() - 3), *cells.shape[1:])
            return torch.where(cells, value.detach(), filler).requires_grad_()
        if isinstance(value, Logits):
            return Logits(tuple(map(filled, value.values)), value.activation)
        return tuple(map(filled, value)) if isinstance(value, tuple) else value

    student, teacher = ({name: filled(v) for name, v in part.items()} for part in (on.student, on.teacher))
    return replace(on, student=student, teacher=teacher, targets=replace(on.targets, sizes=SIZES))


@pytest.mark.parametrize(("family", "selector"), WHOLE_MAPS)
def test_what_is_in_the_padding_changes_nothing(family: str, selector: str) -> None:
    torch.manual_seed(0)
    name, raw = parse(selector)
    card = registry().method(name).value
    options, on = resolve(card, raw), step(family, iteration=50)
    method = built(lambda options: make_method(card, options), options, on)  # type: ignore[arg-type]
    for part in method.modules():
        if isinstance(part, nn.Conv2d) and part.kernel_size == (3, 3):
            nn.init.normal_(part.weight)
            part.weight.data[:, :, [0, 0, 0, 1, 1, 2, 2, 2], [0, 1, 2, 0, 2, 0, 1, 2]] = 0  # has no neighbour
    values = []
    for filler in (0.0, 7.0):
        given = padded(on, filler)
        loss = total(method.losses(given))
        loss.backward()  # type: ignore[no-untyped-call]
        values.append((loss.detach(), gradients(given)))
    assert values[0][0] > 0
    torch.testing.assert_close(values[0], values[1])
    without = replace(given, targets=replace(given.targets, sizes=()))
    assert not torch.isclose(total(method.losses(without)).detach(), values[0][0], rtol=1e-3)


def gradients(on: Step) -> list[Tensor | None]:
    """Return the gradients of all captured maps of the student."""
    return [
        tensor.grad for value in on.student.values() for tensor in tensors_of(value) if tensor.requires_grad
    ]
