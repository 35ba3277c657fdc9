from __future__ import annotations

import pytest
import torch
from fake_steps import IMAGE, built, leaves, step, targets, total
from pydantic import ValidationError
from torch import nn
from torch.nn import functional

from kdbench.distill import FAMILIES, Step, Targets
from kdbench.errors import UserError
from kdbench.selectors import canonical, parse, resolve
from kdbench_papers.fine_grained.card import CARD, LETTERS, FineGrainedOptions
from kdbench_papers.fine_grained.losses import imitation_loss, imitation_mask
from kdbench_papers.fine_grained.method import FineGrained
from kdbench_papers.hinton.losses import logits_loss

VARIANTS = tuple(CARD.variants)
IMITATING = tuple(variant for variant in VARIANTS if variant != "logits")
MASKED = tuple(variant for variant in IMITATING if variant != "full")
NEEDS = {
    "imitation": ("neck", "anchors"),
    "full": ("neck",),
    "gt-boxes": ("neck", "anchors"),
    "logits": ("logits",),
    "imitation+logits": ("neck", "anchors", "logits"),
}
BOXES = torch.tensor([[9.0, 9, 40, 41], [40, 8, 54, 21]])
"""One box for each of the two levels."""
TRUTH = Targets((BOXES, BOXES[:1]), (torch.zeros(2).long(), torch.zeros(1).long()), None, IMAGE)


def squares(level: torch.Tensor, stride: int) -> torch.Tensor:
    """Return one anchor per cell, two strides wide, centred on the cell's upper left corner."""
    y, x = torch.meshgrid(*(torch.arange(n) * float(stride) for n in level.shape[-2:]), indexing="ij")
    centres = torch.stack([x, y, x, y], dim=-1).flatten(0, 1)
    return centres + torch.tensor([-1.0, -1, 1, 1]) * stride


def example(truth: Targets = TRUTH, iteration: int = 50, **changes) -> Step:
    torch.manual_seed(0)
    strides = changes.setdefault("strides", (8, 16))
    on = step("dense", truth=truth, iteration=iteration, **changes)
    anchors = [squares(level, s) for level, s in zip(on.student["neck"], strides, strict=True)]
    on.student["anchors"], on.teacher["anchors"] = anchors, anchors
    return on


def method(on: Step, **options) -> FineGrained:
    return built(FineGrained, FineGrainedOptions(**options), on)


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_trains_what_it_looks_at(variant, relu):
    on = example()
    made = method(on, variant=variant, relu=relu)
    assert made.needs() == NEEDS[variant]
    terms = made.losses(on)
    total(terms).backward()
    for parameter in made.parameters():
        assert parameter.grad is not None
        assert parameter.grad.any()
    for name in ("neck", "logits"):
        used = name in NEEDS[variant]
        assert all(
            (leaf.grad is not None and bool(leaf.grad.any())) == used for leaf in leaves(on.student, name)
        )
        assert all(leaf.grad is None for leaf in leaves(on.teacher, name))


def test_terms():
    on = example()
    logits = on.student["logits"], on.teacher["logits"]
    both = method(on, variant="ID", weight=0.5, logits_weight=3, temperature=4)
    terms = both.losses(on)
    assert set(terms) == {"imitation", "soft"}
    torch.testing.assert_close(terms["soft"], 3 * logits_loss(*logits, 4))
    assert set(method(on, variant="D").losses(on)) == {"soft"}
    alone = method(on, weight=1)
    alone.load_state_dict(both.state_dict())
    assert set(alone.losses(on)) == {"imitation"}
    torch.testing.assert_close(terms["imitation"], 0.5 * alone.losses(on)["imitation"])


def test_defaults_and_card():
    options = FineGrainedOptions()
    assert (options.variant, options.weight, options.threshold) == ("imitation", 0.01, 0.5)
    assert (options.relu, options.channels, options.temperature) == (None, 512, 1.0)
    assert CARD.tasks == ("detection",)
    for number in ("0.01", "0.5", "1e-4", "400", "T = 1", "512"):
        assert number in CARD.equations


@pytest.mark.parametrize("negative", [True, False])
def test_a_relu_follows_where_the_teachers_map_has_no_negative_values(negative):
    on = example()
    if not negative:
        on.teacher["neck"] = tuple(level.detach().relu() for level in on.teacher["neck"])
    made = method(on)
    assert any(isinstance(part, nn.ReLU) for part in made.modules()) is not negative
    assert any(isinstance(part, nn.ReLU) for part in method(on, relu=True).modules())


def test_lambda_is_for_512_channels():
    on = example()
    made = {channels: method(on, channels=channels, weight=1) for channels in (512, 6, None)}
    for other in made.values():
        other.load_state_dict(made[None].state_dict())
    values = {channels: other.losses(on)["imitation"] for channels, other in made.items()}
    torch.testing.assert_close(values[6], values[None])  # the teacher's maps have 6
    torch.testing.assert_close(values[512], values[None] * 512 / 6)


@pytest.mark.parametrize(("letter", "variant"), LETTERS.items())
def test_the_papers_letters_are_the_variants(letter, variant):
    options = resolve(CARD, parse(f"fine-grained[variant={letter}]")[1])
    assert options == FineGrainedOptions(variant=variant)
    assert options.model_dump(mode="json")["variant"] == variant
    expected = "fine-grained" if variant == "imitation" else f"fine-grained[variant={variant}]"
    assert canonical(CARD, options) == expected
    assert resolve(CARD, parse(expected)[1]) == options
    assert CARD.variants[variant].startswith(f"{letter}: ")


@pytest.mark.parametrize("word", ["i", "X", "IG", "1"])
def test_other_letters_are_refused(word):
    with pytest.raises(UserError, match="option 'variant' got"):
        resolve(CARD, parse(f"fine-grained[variant={word}]")[1])


@pytest.mark.parametrize(
    "wrong",
    [{"weight": -1}, {"threshold": 1}, {"threshold": -0.1}, {"held": -1}, {"temperature": 0}, {"x": 1}],
)
def test_options_are_checked(wrong):
    with pytest.raises(ValidationError):
        FineGrainedOptions(**wrong)


@pytest.mark.parametrize(
    ("held", "iterations", "expected"),
    [(None, 12400, 400), (None, 1000, 100), (None, 300, 30), (None, 4, 0), (0, 1000, 0), (400, 500, 400)],
)
def test_how_long_it_is_held(held, iterations, expected):
    assert FineGrainedOptions(held=held).hold(iterations) == expected


def test_held_is_exactly_zero_and_then_it_is_not():
    on, after = example(iteration=9), example(iteration=10)
    made = method(on, variant="ID")
    terms = made.losses(on)
    total(terms).backward()
    assert terms["imitation"].item() == 0
    assert terms["soft"] > 0
    assert all(parameter.grad is None for parameter in made.parameters())
    assert not on.student["neck"][0].grad.any()
    assert made.losses(after)["imitation"] > 0
    with torch.no_grad():
        on.student["neck"][0][:] = float("inf")
    assert made.losses(on)["imitation"].item() == 0


@pytest.mark.parametrize("variant", VARIANTS)
def test_zero_weights_are_zero(variant):
    on = example()
    loss = total(method(on, variant=variant, weight=0, logits_weight=0).losses(on))
    loss.backward()
    assert loss.item() == 0
    grads = [leaf.grad for name in ("neck", "logits") for leaf in leaves(on.student, name)]
    assert all(grad is None or not grad.any() for grad in grads)


def dilated(mask: torch.Tensor) -> torch.Tensor:
    """Return a mask that includes the cells around it."""
    return functional.max_pool2d(mask.float(), 3, stride=1, padding=1) > 0


@pytest.mark.parametrize("variant", MASKED)
def test_the_gradient_is_zero_outside_of_the_region(variant):
    on = example()
    made = method(on, variant=variant)
    adapted: list[torch.Tensor] = []
    for adaptation in made.adaptations:
        adaptation.register_forward_hook(lambda _module, _inputs, output: adapted.append(output))
    loss = made.losses(on)["imitation"]
    regions, maps = made.attention(on).values(), leaves(on.student, "neck")
    grads = torch.autograd.grad(loss, [*adapted, *maps])
    for mask, adapted_grad, grad in zip(regions, grads[: len(maps)], grads[len(maps) :], strict=True):
        inside = mask > 0
        assert inside.any()
        assert not inside.all()
        ours, theirs = (one.abs().sum(dim=1) for one in (adapted_grad, grad))
        assert (ours[inside] > 0).all()
        assert (theirs[inside] > 0).all()
        assert not ours[~inside].any()
        assert not theirs[~dilated(inside)].any()


def test_the_loss_is_the_papers_over_all_levels():
    on = example()
    made = method(on, weight=1, channels=None)
    squares_sum, cells = torch.zeros(()), 0
    levels = zip(made.adaptations, on.student["neck"], on.teacher["neck"], on.student["anchors"], strict=True)
    own = [BOXES[1:], BOXES[:1]]
    for level, (adapt, ours, theirs, anchors) in enumerate(levels):
        grid = tuple(ours.shape[-2:])
        truth = [own[level], own[level] if level == 1 else BOXES[:0]]
        mask = torch.stack([imitation_mask(anchors, boxes, 1, grid) for boxes in truth])
        squares_sum = squares_sum + imitation_loss(adapt(ours), theirs, mask) * mask.sum()
        cells += int(mask.sum())
    torch.testing.assert_close(made.losses(on)["imitation"], squares_sum / cells)


def test_full_is_half_the_sum_over_channels_per_cell():
    on = example(channels=(6, 6))
    made = method(on, variant="F", weight=1, channels=None)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.zero_()
    values = torch.cat([level.square().sum(dim=1).flatten() for level in on.teacher["neck"]])
    torch.testing.assert_close(made.losses(on)["imitation"], values.mean() / 2)


def test_regions_of_the_levels():
    maps = method(example()).attention(example())
    assert list(maps) == ["level 0, stride 8", "level 1, stride 16"]
    fine, coarse = maps.values()
    assert fine.shape == (2, 8, 12)
    assert fine[0].any()
    assert not fine[1].any()
    assert coarse[0].any()
    assert torch.equal(coarse[0], coarse[1])
    assert method(example(), variant="D").attention(example()) == {}
    assert all(level.all() for level in method(example(), variant="F").attention(example()).values())


def test_attention_needs_neither_build_nor_teacher():
    on = example()
    blind = Step(on.student, {}, on.targets, on.images, 0, 100)
    for variant in IMITATING:
        assert FineGrained(FineGrainedOptions(variant=variant)).attention(blind)


@pytest.mark.parametrize("variant", MASKED)
def test_no_boxes_are_zero_with_a_valid_gradient(variant):
    on = example(truth=targets((0, 0)))
    made = method(on, variant=variant)
    loss = made.losses(on)["imitation"]
    loss.backward()
    assert loss.item() == 0
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in made.parameters())


@pytest.mark.parametrize("strides", [(8, 16), (16, 32), (4, 8)])
def test_a_teacher_of_another_resolution_is_resized_to_the_anchors(strides):
    on = example(strides=strides, teacher_strides=(8, 16))
    made = method(on)
    loss = made.losses(on)["imitation"]
    loss.backward()
    assert loss > 0
    assert [tuple(m.shape[1:]) for m in made.attention(on).values()] == [
        tuple(level.shape[-2:]) for level in on.student["neck"]
    ]


def test_the_adaptation_starts_next_to_zero():
    made = method(example(channels=(32, 48)), relu=True)
    for convolution, relu in made.adaptations:
        assert convolution.weight.shape == (48, 32, 3, 3)
        assert 0.8e-4 < convolution.weight.std() < 1e-4
        assert convolution.weight.abs().max() <= 2e-4
        assert not convolution.bias.any()
        assert isinstance(relu, torch.nn.ReLU)
    assert made.notes() == ["adaptations: 3x3 convolution 32 -> 48, ReLU() (2 times)"]


def test_autocast():
    on = example()
    made = method(on, variant="ID")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = made.losses(on)
    total(terms).backward()
    exact = made.losses(on)
    torch.testing.assert_close(terms, exact, rtol=2e-2, atol=1e-4)


def test_pairs_that_do_not_line_up_are_refused():
    with pytest.raises(UserError, match="the student's neck has 2 levels, the teacher's 3"):
        method(example(teacher_strides=(8, 16, 32)))
    on = example()
    on.teacher["logits"] = example(strides=(16, 32)).teacher["logits"]
    method(on)
    with pytest.raises(UserError, match="do not line up"):
        method(on, variant="ID")


def test_it_is_for_detection():
    for variant in VARIANTS:
        needed = set(FineGrained(FineGrainedOptions(variant=variant)).needs())
        assert needed <= FAMILIES["two-stage"]
        assert needed <= FAMILIES["dense"]
    assert not set(NEEDS["imitation"]) <= FAMILIES["segmentation"]
