from __future__ import annotations

import re

import pytest
import torch
from fake_steps import IMAGE, built, leaves, proposals, step, targets, total
from pydantic import ValidationError

from kdbench.distill import Step, Targets
from kdbench_papers.mimic.card import CARD as MIMIC
from kdbench_papers.mimic.card import MimicOptions
from kdbench_papers.mimic.method import Mimic
from kdbench_papers.quantization_mimic.card import CARD, QuantizationMimicOptions, teacher_stage
from kdbench_papers.quantization_mimic.losses import symmetric
from kdbench_papers.quantization_mimic.method import QuantizationMimic

VARIANTS = tuple(CARD.variants)
REGIONS = tuple(MIMIC.variants)
SIDES = {
    "both": (True, True),
    "power-of-two": (True, True),
    "student-only": (True, False),
    "teacher-only": (False, True),
    "none": (False, False),
}
"""Variant -> whether the student's and the teacher's regions are quantized."""


def large_step():
    """Return a step with features in several bins, and regions on both levels."""
    regions = [torch.tensor([[0.0, 0, 8, 8, 0.9], [0, 0, 90, 60, 0.8]])] * 2
    on = step(regions=regions, truth=Targets((regions[0][:, :4],) * 2, (), None, IMAGE), finest=16)
    teacher = {**on.teacher, "neck": tuple((4 * level).detach() for level in on.teacher["neck"])}
    return Step(on.student, teacher, on.targets, on.images, 0, 100)


def pair(options: QuantizationMimicOptions, on: Step) -> tuple[QuantizationMimic, Mimic]:
    """Return the method, and mimic with the same regions and transforms."""
    quantized, mimic = built(QuantizationMimic, options, on), built(Mimic, options.as_mimic(), on)
    mimic.load_state_dict(quantized.state_dict())
    return quantized, mimic


def values(method: Mimic, on: Step) -> dict[str, torch.Tensor]:
    on.generator.manual_seed(3)
    return method.losses(on)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("pooling", ["roi-align", "crop"])
def test_every_variant_trains_student_and_transform(variant, pooling):
    on = large_step()
    options = QuantizationMimicOptions(variant=variant, pooling=pooling, step=0.25)
    method = built(QuantizationMimic, options, on)
    total(method.losses(on)).backward()
    grads = [leaf.grad for leaf in [*method.parameters(), *leaves(on.student, "neck")]]
    assert all(grad is not None and grad.abs().sum() > 0 for grad in grads)
    assert all(leaf.grad is None for leaf in leaves(on.teacher, "neck"))


@pytest.mark.parametrize("pooling", ["roi-align", "crop"])
@pytest.mark.parametrize("regions", REGIONS)
def test_none_is_mimic_exactly(regions, pooling):
    options = QuantizationMimicOptions(variant="none", regions=regions, pooling=pooling, weight=2)
    assert QuantizationMimic(options).needs() == Mimic(options.as_mimic()).needs()
    on = large_step()
    quantized, mimic = pair(options, on)
    assert quantized.notes() == mimic.notes()
    ours, theirs = values(quantized, on), values(mimic, on)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_none_builds_what_mimic_builds_from_one_seed():
    on, made = step(), []
    for kind, options in (
        (QuantizationMimic, QuantizationMimicOptions(variant="none")),
        (Mimic, MimicOptions()),
    ):
        torch.manual_seed(5)
        made.append(built(kind, options, on).state_dict())
    assert made[0].keys() == made[1].keys()
    assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("regions", ["proposals", "whole-map", "multi-level"])
def test_crops_are_mimic_of_quantized_maps(variant, regions):
    """Quantizing a map and cropping commute for exact crops."""
    on = large_step()
    options = QuantizationMimicOptions(variant=variant, regions=regions, pooling="crop", step=0.5)
    quantized, mimic = pair(options, on)
    bins = "power-of-two" if variant == "power-of-two" else "uniform"

    def rounded(features: torch.Tensor, width: float) -> torch.Tensor:
        return symmetric(features, width, bins)

    student, teacher = SIDES[variant]
    if student:
        for transform in mimic.transforms:
            transform.register_forward_hook(lambda _module, _inputs, output: rounded(output, 0.5))
    seen = dict(on.teacher)
    if teacher:
        seen["neck"] = tuple(rounded(level, 0.5) for level in seen["neck"])
    by_hand = Step(on.student, seen, on.targets, on.images, 0, 100)
    torch.testing.assert_close(values(quantized, on)["mimic"], values(mimic, by_hand)["mimic"])


def test_whole_maps_of_both_are_quantized_on_both_sides():
    on = large_step()
    method = built(QuantizationMimic, QuantizationMimicOptions(regions="whole-map"), on)
    adapted = [t.conv(m) for t, m in zip(method.transforms, on.student["neck"], strict=True)]
    levels = zip(adapted, on.teacher["neck"], strict=True)
    parts = [0.5 * (symmetric(ours, 1.0) - symmetric(theirs, 1.0)).square().mean() for ours, theirs in levels]
    expected = torch.stack(parts).mean()
    torch.testing.assert_close(method.losses(on)["mimic"], expected)


def test_pooled_regions_are_quantized_after_pooling():
    """With a step larger than every value, both sides become 0, so there is no difference."""
    on = large_step()
    for variant, different in (("both", False), ("student-only", True)):
        method = built(QuantizationMimic, QuantizationMimicOptions(variant=variant), on)
        method.quantized = QuantizationMimicOptions(variant=variant, step=1e6)
        assert bool(total(method.losses(on)) > 0) is different


def test_a_note_tells_the_step_beside_the_teachers_features():
    on = large_step()
    notes = [built(QuantizationMimic, QuantizationMimicOptions(step=s), on).notes()[-1] for s in (2, 40)]
    assert re.search(r"\(0\.\d+ standard deviations of the teacher's features\)$", notes[0])
    assert notes[1].endswith("of the teacher's features, so that nearly all become 0: choose a smaller step)")


def test_no_regions_and_zero_weight():
    on = step(regions=proposals((0, 0)), truth=targets((0, 0)))
    method = built(QuantizationMimic, QuantizationMimicOptions(), on)
    loss = total(method.losses(on))
    loss.backward()
    assert loss.item() == 0
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in method.parameters())
    assert total(built(QuantizationMimic, QuantizationMimicOptions(weight=0), step()).losses(step())) == 0


def test_autocast():
    on = large_step()
    method = built(QuantizationMimic, QuantizationMimicOptions(step=0.5), on)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = method.losses(on)
    total(terms).backward()
    assert all(parameter.grad is not None for parameter in method.parameters())


@pytest.mark.parametrize("variant", VARIANTS)
def test_only_a_quantized_teacher_has_a_stage(variant):
    options = QuantizationMimicOptions(variant=variant, step=0.5)
    stage = teacher_stage(options)
    assert (stage is not None) is SIDES[variant][1]
    if stage is not None:
        bins = "power-of-two" if variant == "power-of-two" else "uniform"
        assert stage.arguments == {"step": 0.5, "bins": bins}
        assert stage.title == "quantized teacher"


def test_options_that_do_not_concern_the_teacher_share_its_stage():
    stages = [
        teacher_stage(QuantizationMimicOptions(**options))
        for options in ({}, {"weight": 3}, {"pooling": "crop"}, {"variant": "teacher-only"})
    ]
    assert len({stage.identity() for stage in stages if stage is not None}) == 1
    other = teacher_stage(QuantizationMimicOptions(step=2))
    assert other is not None
    assert other.identity() != stages[0].identity()


def test_notes_say_where_q_is():
    on = step()
    notes = {
        v: built(QuantizationMimic, QuantizationMimicOptions(variant=v), on).notes()[-1] for v in VARIANTS
    }
    assert notes["both"].startswith("Q with uniform bins of 1 on the regions of: student, teacher (")
    assert notes["teacher-only"].startswith("Q with uniform bins of 1 on the regions of: teacher (")
    assert notes["power-of-two"].startswith("Q with power-of-two bins of 1")
    assert "Q" not in notes["none"]


def test_the_regions_options_are_those_of_mimic():
    fields, own = MimicOptions.model_fields, QuantizationMimicOptions.model_fields
    assert own["regions"].annotation == fields["variant"].annotation
    for name in fields.keys() - {"variant"}:
        assert (own[name].annotation, own[name].default) == (fields[name].annotation, fields[name].default)
        assert repr(own[name].metadata) == repr(fields[name].metadata)


@pytest.mark.parametrize("wrong", [{"variant": "q"}, {"step": 0}, {"step": -1}, {"step": "inf"}, {"bins": 3}])
def test_options_are_checked(wrong):
    with pytest.raises(ValidationError):
        QuantizationMimicOptions(**wrong)
