from __future__ import annotations

import pytest
import torch
from fake_steps import built, leaves, step, total
from pydantic import ValidationError
from torch.nn import functional

from kdbench.distill import FAMILIES
from kdbench.errors import UserError
from kdbench.selectors import canonical, parse, resolve
from kdbench_papers.structured.card import CARD, StructuredOptions
from kdbench_papers.structured.losses import adversarial_loss, critic_loss, pair_wise_loss, pixel_wise_loss
from kdbench_papers.structured.method import Structured

TERMS = {
    "pixel": {"pixel"},
    "pair": {"pair"},
    "holistic": {"holistic"},
    "pixel+pair": {"pixel", "pair"},
    "pixel+pair+holistic": {"pixel", "pair", "holistic"},
}


def segmentation(**changes):
    return step("segmentation", strides=(16,), **changes)


@pytest.mark.parametrize("variant", TERMS)
def test_terms_of_each_variant(variant):
    on = segmentation()
    options = StructuredOptions(variant=variant)
    method = built(Structured, options, on)
    terms = method.losses(on)
    assert set(terms) == TERMS[variant]
    total(terms).backward()
    for capture, parts in {"neck": {"pair"}, "pixel_logits": {"pixel", "holistic"}}.items():
        needed = bool(TERMS[variant] & parts)
        assert (capture in method.needs()) == needed
        assert all((leaf.grad is not None) == needed for leaf in leaves(on.student, capture))
        assert all(leaf.grad is None for leaf in leaves(on.teacher, capture))
    assert (method.adversary() is not None) == ("holistic" in TERMS[variant])


def test_weights():
    on = segmentation()
    method = built(Structured, StructuredOptions(weight=3, adversarial_weight=0.5), on)
    terms = method.losses(on)
    student, teacher = on.student["pixel_logits"], on.teacher["pixel_logits"]
    torch.testing.assert_close(terms["pixel"], 3 * pixel_wise_loss(student, teacher))
    torch.testing.assert_close(
        terms["pair"], 3 * pair_wise_loss(on.student["neck"][0], on.teacher["neck"][0])
    )
    torch.testing.assert_close(terms["holistic"], 0.5 * adversarial_loss(method.critic, student, on.images))
    defaults = StructuredOptions()
    assert (defaults.variant, defaults.weight, defaults.adversarial_weight) == (
        "pixel+pair+holistic",
        10,
        0.1,
    )


def test_weights_of_zero_are_zero():
    on = segmentation()
    loss = total(built(Structured, StructuredOptions(weight=0, adversarial_weight=0), on).losses(on))
    loss.backward()
    assert loss.item() == 0
    assert not any(leaf.grad.any() for name in ("neck", "pixel_logits") for leaf in leaves(on.student, name))


@pytest.mark.parametrize("family", FAMILIES)
def test_pairs_in_each_family_are_the_mean_over_levels(family):
    on = step(family)
    options = StructuredOptions(variant="pair")
    assert Structured(options).needs() == ("neck",)
    method = built(Structured, options, on)
    levels = zip(on.student["neck"], on.teacher["neck"], strict=True)
    expected = 10 * torch.stack([pair_wise_loss(*level) for level in levels]).mean()
    torch.testing.assert_close(method.losses(on)["pair"], expected)
    assert list(method.parameters()) == []


def test_nodes():
    on = segmentation()
    terms = built(Structured, StructuredOptions(variant="pair", nodes=2), on).losses(on)
    expected = 10 * pair_wise_loss(on.student["neck"][0], on.teacher["neck"][0], (2, 2))
    torch.testing.assert_close(terms["pair"], expected)


@pytest.mark.parametrize("nodes", [None, 3])
def test_maps_of_another_size_are_resized(nodes):
    on = segmentation(teacher_strides=(8,))
    method = built(Structured, StructuredOptions(nodes=nodes), on)
    terms = method.losses(on)
    total(terms).backward()

    def up(values):
        return functional.interpolate(values, size=(8, 12), mode="bilinear", align_corners=False)

    expected = pixel_wise_loss(up(on.student["pixel_logits"]), on.teacher["pixel_logits"])
    torch.testing.assert_close(terms["pixel"], 10 * expected)
    assert torch.isfinite(method.adversary_losses(on.detached())["critic"])


def test_the_critics_loss_and_optimizer():
    on = segmentation()
    method = built(Structured, StructuredOptions(critic_lr=0.01, weight=0, adversarial_weight=0), on)
    critic = method.adversary()
    on.generator.manual_seed(3)
    losses = method.adversary_losses(on.detached())
    logits = on.student["pixel_logits"], on.teacher["pixel_logits"]
    expected = critic_loss(critic, *logits, on.images, generator=on.generator.manual_seed(3))
    torch.testing.assert_close(losses, {"critic": expected})
    optimizer = method.adversary_optimizer(list(critic.parameters()))
    (group,) = optimizer.param_groups
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.01, 0.9, 1e-4)
    assert {id(p) for p in group["params"]} == {id(p) for p in method.parameters()}


def test_a_critic_learns_to_tell_student_from_teacher():
    on = segmentation()
    torch.manual_seed(0)
    method = built(Structured, StructuredOptions(variant="holistic", critic_lr=0.01), on)
    optimizer = method.adversary_optimizer(list(method.adversary().parameters()))
    first = last = None
    for _ in range(30):
        optimizer.zero_grad()
        last = method.adversary_losses(on.detached())["critic"]
        last.backward()
        optimizer.step()
        first = first or last.item()
    assert last.item() < first
    ours, theirs = (
        adversarial_loss(method.critic, s["pixel_logits"], on.images) for s in (on.student, on.teacher)
    )
    assert ours > theirs  # each is -E[D]


def test_spectral_norm_is_an_option():
    plain, normed = (
        built(Structured, StructuredOptions(variant="holistic", spectral_norm=on), segmentation())
        for on in (False, True)
    )
    assert not any("parametrizations" in name for name, _ in plain.named_parameters())
    assert sum("parametrizations" in name for name, _ in normed.named_parameters()) == 4


def test_attention_is_the_similarity_to_the_centre():
    on = segmentation()
    shown = built(Structured, StructuredOptions(variant="pair"), on).attention(on)
    assert len(shown) == 2
    for values in shown.values():
        assert values.shape == (2, 4, 6)
        assert not values.requires_grad
        assert bool(((values >= 0) & (values <= 1)).all())
        assert values[:, 2, 3].tolist() == pytest.approx([1, 1])
    assert built(Structured, StructuredOptions(variant="pixel"), on).attention(on) == {}


def test_other_classes_and_levels_are_refused():
    on = segmentation()
    on.student["pixel_logits"] = torch.randn(2, 5, 4, 6)
    with pytest.raises(UserError, match="different classes"):
        built(Structured, StructuredOptions(), on)
    with pytest.raises(UserError, match="levels"):
        built(Structured, StructuredOptions(variant="pair"), step("dense", teacher_strides=(8,)))


def test_notes_say_what_the_critic_is():
    (note,) = built(Structured, StructuredOptions(), segmentation()).notes()
    assert note.startswith("critic: ")
    assert "3x3 convolution 6 -> 64" in note


@pytest.mark.parametrize("variant", TERMS)
def test_selectors_can_be_pasted_back(variant):
    text = f"structured[nodes=8,spectral_norm=true,variant={variant}]"
    options = resolve(CARD, parse(text)[1])
    assert options == StructuredOptions(variant=variant, nodes=8, spectral_norm=True)
    assert resolve(CARD, parse(canonical(CARD, options))[1]) == options


@pytest.mark.parametrize(
    "wrong", [{"variant": "pair+pixel"}, {"weight": -1}, {"nodes": 0}, {"critic_lr": 0}, {"lambda": 1}]
)
def test_options_are_checked(wrong):
    with pytest.raises(ValidationError):
        StructuredOptions(**wrong)
