"""The method on random captures of every family, called as in a training."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from kdbench.api import FAMILIES, TASKS, Family, Shapes, Step, Targets, UserError, method_of
from kdbench_pkd.card import CARD, PkdOptions
from kdbench_pkd.losses import pearson_loss
from kdbench_pkd.method import Pkd

IMAGE = (64, 96)
CLASSES = 3
SIZES = {
    "two-stage": [(16, 24), (8, 12), (4, 6)],
    "dense": [(8, 12), (4, 6)],
    "query": [(8, 12), (4, 6)],
    "segmentation": [(8, 12)],
}
ITERATIONS = 20

Maps = tuple[Tensor, ...]


def neck(family: str, channels: int, seed: int) -> Maps:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(2, channels, *size, generator=generator) for size in SIZES[family])


def step(student: Maps, teacher: Maps, iteration: int = 0) -> Step:
    empty = Targets((torch.zeros(0, 4),) * 2, (torch.zeros(0, dtype=torch.long),) * 2, None, IMAGE)
    images = torch.zeros(2, 3, *IMAGE)
    return Step({"neck": student}, {"neck": teacher}, empty, images, iteration, ITERATIONS)


def built(student: Maps, teacher: Maps, **options: float) -> Pkd:
    method = Pkd(PkdOptions(**options))
    ours, theirs = (tuple(tuple(value.shape) for value in maps) for maps in (student, teacher))
    method.build(Shapes({"neck": ours}, {"neck": theirs}, CLASSES, IMAGE, "dense"))
    return method


@pytest.mark.parametrize("channels", [(4, 6), (4, 4)])
@pytest.mark.parametrize("family", FAMILIES)
def test_twenty_iterations_bring_the_student_nearer(family: str, channels: tuple[int, int]) -> None:
    torch.manual_seed(0)
    student, teacher = (neck(family, number, seed) for seed, number in enumerate(channels))
    method = built(student, teacher)
    maps = tuple(nn.Parameter(value) for value in student)
    adapters = list(method.parameters())
    assert bool(adapters) == (channels[0] != channels[1])
    before = [value.detach().clone() for value in adapters]
    optimizer, seen = torch.optim.Adam([*maps, *adapters], lr=0.05), []
    for iteration in range(ITERATIONS):
        terms = method.losses(step(maps, teacher, iteration))
        assert list(terms) == ["correlation"]
        optimizer.zero_grad()
        terms["correlation"].backward()  # type: ignore[no-untyped-call]
        assert all(value.grad is not None and bool(value.grad.any()) for value in maps)
        optimizer.step()
        seen.append(terms["correlation"].item())
    assert seen[-1] < 0.7 * seen[0]
    assert all(not torch.equal(now, then) for now, then in zip(adapters, before, strict=True))
    assert all(value.grad is None for value in teacher)


def test_levels_add_up_with_their_weight() -> None:
    student, teacher = (neck("two-stage", 4, seed) for seed in (0, 1))
    method = built(student, teacher, weight=2.0)
    assert not list(method.parameters())
    expected = sum(pearson_loss(ours, theirs) for ours, theirs in zip(student, teacher, strict=True))
    torch.testing.assert_close(method.losses(step(student, teacher))["correlation"], 2.0 * expected)


def test_maps_of_another_size_are_resized_to_the_teacher_s() -> None:
    student, teacher = (torch.randn(2, 4, 4, 6),), (torch.randn(2, 4, 8, 12),)
    method = built(student, teacher)
    assert torch.isfinite(method.losses(step(student, teacher))["correlation"])


@pytest.mark.parametrize(("family", "weight"), [("dense", 10), ("two-stage", 6), ("segmentation", 6)])
def test_the_weight_is_the_authors_for_the_family(family: Family, weight: int) -> None:
    student, teacher = (neck(family, 4, seed) for seed in (0, 1))
    shapes = tuple(tuple(value.shape) for value in student)
    method = Pkd(PkdOptions())
    method.build(Shapes({"neck": shapes}, {"neck": shapes}, CLASSES, IMAGE, family))
    expected = sum(pearson_loss(ours, theirs) for ours, theirs in zip(student, teacher, strict=True))
    torch.testing.assert_close(method.losses(step(student, teacher))["correlation"], weight * expected)
    assert method.notes()[-1] == f"each level weighs {weight}"


def test_other_numbers_of_levels_are_refused() -> None:
    with pytest.raises(UserError, match="student's neck has 3 levels, the teacher's 2"):
        built(neck("two-stage", 4, 0), neck("dense", 4, 1))


def test_the_card_says_what_the_method_needs() -> None:
    assert CARD.method == "kdbench_pkd.method:Pkd"
    assert CARD.tasks == TASKS
    assert all(set(Pkd(PkdOptions()).needs()) <= captures for captures in FAMILIES.values())
    assert all(field.description for field in PkdOptions.model_fields.values())


def test_the_published_numbers_are_of_options_that_it_has() -> None:
    for row in CARD.published():
        assert row["source"] in ("P", "C")
        assert float(row["value"]) > 0
        if row["variant"] not in ("plain", "teacher", "not told"):
            assert method_of(f"pkd[{row['variant']}]")[0] is CARD
