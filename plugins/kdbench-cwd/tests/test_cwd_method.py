"""The method on random captures of every family, called as in a training."""

from __future__ import annotations

from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from kdbench.api import FAMILIES, TASKS, Logits, Shapes, Step, Targets, UserError, method_of
from kdbench_cwd.card import CARD, CwdOptions
from kdbench_cwd.losses import channel_wise_loss
from kdbench_cwd.method import ChannelWise

IMAGE = (64, 96)
CLASSES = 3
SIZES = {
    "two-stage": [(16, 24), (8, 12), (4, 6)],
    "dense": [(8, 12), (4, 6)],
    "query": [(8, 12), (4, 6)],
    "segmentation": [(8, 12)],
}
ITERATIONS = 20


def capture(family: str, where: str, channels: int, seed: int) -> Any:
    """Return maps of the neck, or the logits of the family's head."""
    generator = torch.Generator().manual_seed(seed)
    if where == "neck":
        return tuple(torch.randn(2, channels, *size, generator=generator) for size in SIZES[family])
    shapes: dict[str, list[tuple[int, ...]]] = {
        "two-stage": [(10, CLASSES + 1)],
        "dense": [(2, CLASSES, channels, *size) for size in SIZES[family]],
        "segmentation": [(2, CLASSES, *SIZES[family][0])],
    }
    activation: Literal["softmax", "sigmoid"] = "sigmoid" if family == "dense" else "softmax"
    return Logits(tuple(torch.randn(shape, generator=generator) for shape in shapes[family]), activation)


def values(given: Any) -> tuple[Tensor, ...]:
    return given.values if isinstance(given, Logits) else given


def shapes(where: str, student: Any, teacher: Any) -> Shapes:
    ours, theirs = (tuple(tuple(value.shape) for value in values(given)) for given in (student, teacher))
    return Shapes({where: ours}, {where: theirs}, CLASSES, IMAGE, "dense")


def step(where: str, student: Any, teacher: Any, iteration: int = 0) -> Step:
    empty = Targets((torch.zeros(0, 4),) * 2, (torch.zeros(0, dtype=torch.long),) * 2, None, IMAGE)
    return Step({where: student}, {where: teacher}, empty, torch.zeros(2, 3, *IMAGE), iteration, ITERATIONS)


def built(where: Literal["neck", "logits"], student: Any, teacher: Any, **options: float) -> ChannelWise:
    method = ChannelWise(CwdOptions(where=where, **options))
    method.build(shapes(where, student, teacher))
    return method


def with_values(given: Any, parts: list[Tensor]) -> Any:
    return Logits(tuple(parts), given.activation) if isinstance(given, Logits) else tuple(parts)


@pytest.mark.parametrize("channels", [(4, 6), (4, 4)])
@pytest.mark.parametrize(
    ("family", "where"),
    [*((family, "neck") for family in FAMILIES), ("dense", "logits"), ("segmentation", "logits")],
)
def test_twenty_iterations_bring_the_student_nearer(
    family: str, where: Literal["neck", "logits"], channels: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    student, teacher = (capture(family, where, number, seed) for seed, number in enumerate(channels))
    method = built(where, student, teacher)
    maps = [nn.Parameter(value) for value in values(student)]
    adapters = list(method.parameters())
    assert bool(adapters) == (channels[0] != channels[1] and (family, where) != ("segmentation", "logits"))
    before = [value.detach().clone() for value in adapters]
    optimizer, seen = torch.optim.Adam([*maps, *adapters], lr=0.05), []
    for iteration in range(ITERATIONS):
        terms = method.losses(step(where, with_values(student, [*maps]), teacher, iteration))
        assert list(terms) == ["channels"]
        optimizer.zero_grad()
        terms["channels"].backward()  # type: ignore[no-untyped-call]
        assert all(value.grad is not None and bool(value.grad.any()) for value in maps)
        optimizer.step()
        seen.append(terms["channels"].item())
    assert seen[-1] < 0.7 * seen[0]
    assert all(not torch.equal(now, then) for now, then in zip(adapters, before, strict=True))
    assert all(value.grad is None for value in values(teacher))


def test_levels_add_up_with_their_weight_and_temperature() -> None:
    student, teacher = (capture("two-stage", "neck", 4, seed) for seed in (0, 1))
    method = built("neck", student, teacher, weight=2.0, temperature=4.0)
    assert not list(method.parameters())
    expected = sum(channel_wise_loss(s, t, 4.0) for s, t in zip(student, teacher, strict=True))
    torch.testing.assert_close(method.losses(step("neck", student, teacher))["channels"], 2.0 * expected)


def test_the_anchors_of_a_dense_head_are_channels() -> None:
    student, teacher = (capture("dense", "logits", 2, seed) for seed in (0, 1))
    pairs = zip(student.values, teacher.values, strict=True)
    expected = sum(channel_wise_loss(s.flatten(1, 2), t.flatten(1, 2)) for s, t in pairs)
    method = built("logits", student, teacher, weight=1.0)
    torch.testing.assert_close(method.losses(step("logits", student, teacher))["channels"], expected)


def test_maps_of_another_size_are_resized_to_the_teacher_s() -> None:
    student, teacher = (torch.randn(2, 4, 4, 6),), (torch.randn(2, 4, 8, 12),)
    method = built("neck", student, teacher)
    assert torch.isfinite(method.losses(step("neck", student, teacher))["channels"])


def test_regions_have_no_maps() -> None:
    student, teacher = (capture("two-stage", "logits", 4, seed) for seed in (0, 1))
    with pytest.raises(UserError, match=r"use cwd\[where=neck\]"):
        built("logits", student, teacher)


def test_the_card_says_what_the_method_needs() -> None:
    assert CARD.method == "kdbench_cwd.method:ChannelWise"
    assert CARD.tasks == TASKS
    for where in ("neck", "logits"):
        (needed,) = ChannelWise(CwdOptions(where=where)).needs()
        assert all(needed in captures for captures in FAMILIES.values())
    assert all(field.description for field in CwdOptions.model_fields.values())


def test_the_published_numbers_are_of_options_that_it_has() -> None:
    for row in CARD.published():
        assert row["source"] in ("P", "C")
        assert float(row["value"]) > 0
        if row["variant"] not in ("plain", "teacher", "not told"):
            assert method_of(f"cwd[{row['variant']}]")[0] is CARD
