"""The wiring of the second set of papers, on fake steps of every family that each supports."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from fake_heads import BINS, dense_step, segmentation_step
from fake_steps import CLASSES, IMAGE, built, step, targets, total
from lightly import LIGHTLY

from kdbench.distill import FAMILIES, Targets, rows_of
from kdbench.distill.captures import tensors_of
from kdbench.errors import UserError
from kdbench.plugins import load_method
from kdbench_papers import kdbench_methods
from kdbench_papers.bckd.losses import box_consistency_loss, consistency_loss
from kdbench_papers.dkd.losses import decoupled_loss
from kdbench_papers.hinton.losses import soft_target_loss
from kdbench_papers.ld.losses import localization_loss, valuable_region
from kdbench_papers.lskd.losses import standardised_logits
from kdbench_papers.mgd.losses import random_mask

STEPS = {
    "two-stage": lambda **more: step("two-stage", **more),
    "dense": dense_step,
    "segmentation": segmentation_step,
}
LATE = ("blocks", "teacher_blocks", "levels")
"""Parts whose inner weights get a gradient only after their output, initially 0, has changed."""
CARDS = {card.name: card for card in kdbench_methods()}
SECOND = (
    *("at", "mgd", "fgd", "ld", "crosskd", "dist", "cirkd"),
    *("bckd", "dkd", "reviewkd", "ifvd", "defeat", "fbkd", "gid"),
)
FAMILIES_OF = {name: [family for family in STEPS if family in CARDS[name].families] for name in SECOND}


DEFEAT_FG = CARDS["defeat"].options(variant="fg")


def options_of(name):
    card = CARDS[name]
    if name == "cirkd":  # its memories are large
        return [card.options(variant=variant, pixels=20, regions=5) for variant in card.variants]
    return [card.options(variant=variant) for variant in card.variants] or [card.options()]


def claimed(name, options):
    """Return the families of the card's tasks that have the method's captures."""
    needs = set(load_method(CARDS[name])(options).needs())
    tasks = {family: "segmentation" if family == "segmentation" else "detection" for family in FAMILIES}
    return [f for f in STEPS if needs <= FAMILIES[f] and tasks[f] in CARDS[name].tasks]


EVERY = [
    pytest.param(name, options, family, id=f"{name}-{getattr(options, 'variant', '')}-{family}")
    for name in FAMILIES_OF
    for options in options_of(name)
    for family in claimed(name, options)
]


@pytest.mark.parametrize(
    ("name", "options"), [(name, options) for name in FAMILIES_OF for options in options_of(name)]
)
def test_settled_options_have_no_effect(name, options):
    family = claimed(name, options)[0]
    on = STEPS[family]()
    for field in sorted(options.settled - {"pixels", "regions"}):
        found = []
        for value in (0.25, 0.5) if field != "at" else (1, 2):
            torch.manual_seed(0)
            changed = options.model_copy(update={field: value})
            method = built(load_method(CARDS[name]), changed, on, family)
            fresh = replace(on, generator=torch.Generator())
            found.append({term: value.item() for term, value in method.losses(fresh).items()})
        assert found[0] == found[1], field


def leaves(captures):
    return [
        leaf
        for value in captures.values()
        for leaf in tensors_of(value)
        if leaf.is_leaf and leaf.requires_grad
    ]


@pytest.mark.parametrize("name", FAMILIES_OF)
def test_families(name):
    assert FAMILIES_OF.keys() == LIGHTLY
    found = {family for options in options_of(name) for family in claimed(name, options)}
    assert found == set(FAMILIES_OF[name])


@pytest.mark.parametrize(("name", "options", "family"), EVERY)
def test_terms_reach_the_student_and_the_adapters_alone(name, options, family):
    torch.manual_seed(0)
    on = STEPS[family]()
    method = built(load_method(CARDS[name]), options, on, family)
    terms = method.losses(on)
    for term in terms.values():
        found = torch.autograd.grad(term, leaves(on.student), allow_unused=True, retain_graph=True)
        assert any(gradient is not None and gradient.any() for gradient in found)
        assert all(gradient is None or torch.isfinite(gradient).all() for gradient in found)
    total(terms).backward()
    for part, parameter in method.named_parameters():
        assert parameter.grad is not None, part
        # All boxes are small, so that objects are only on defeat's finest level.
        assert parameter.grad.any() or part.startswith(LATE) or options == DEFEAT_FG, part
    assert all(leaf.grad is None for leaf in leaves(on.teacher))


@pytest.mark.parametrize(("name", "options", "family"), EVERY)
def test_weights_of_zero_are_zero_and_images_without_objects_are_finite(name, options, family):
    empty = targets((0, 0)) if family != "segmentation" else None
    on = {
        "two-stage": lambda: step("two-stage", truth=empty),
        "dense": lambda: dense_step(positives=0, truth=empty),
        "segmentation": segmentation_step,
    }[family]()
    kind = type(options)
    names = [field for field in kind.model_fields if field.endswith("weight")]
    for changes in ({}, dict.fromkeys(names, 0.0)):
        method = built(load_method(CARDS[name]), options.model_copy(update=changes), on, family)
        loss = total(method.losses(on))
        assert torch.isfinite(loss)
    assert loss.item() == 0
    loss.backward()
    assert not any(leaf.grad is not None and leaf.grad.any() for leaf in leaves(on.student))


@pytest.mark.parametrize(
    "name", [name for name in FAMILIES_OF if name not in ("ld", "bckd", "crosskd", "gid")]
)
def test_maps_of_another_size(name):
    family = FAMILIES_OF[name][-1]
    on = segmentation_step(teacher_strides=(8,)) if family == "segmentation" else None
    on = on or step(
        family if family == "two-stage" else "two-stage", strides=(16, 32), teacher_strides=(8, 16)
    )
    method = built(
        load_method(CARDS[name]),
        CARDS[name].options(),
        on,
        "two-stage" if family != "segmentation" else family,
    )
    total(method.losses(on)).backward()


@pytest.mark.parametrize("name", FAMILIES_OF)
def test_what_is_shown_is_in_the_unit_interval(name):
    family = FAMILIES_OF[name][0]
    on = STEPS[family]()
    method = load_method(CARDS[name])(CARDS[name].options())
    for shown in method.attention(on).values():
        assert shown.dim() == 3
        assert not shown.requires_grad
        assert 0 <= shown.min() <= shown.max() <= 1 + 1e-6


@pytest.mark.parametrize(("family", "ratio"), [("two-stage", 0.45), ("dense", 0.65), (None, 0.65)])
def test_mgd_shows_a_mask_of_its_ratio_in_the_family(family, ratio):
    seeded = torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    on = replace(step(), family=family, generator=seeded[0])
    shown = load_method(CARDS["mgd"])(CARDS["mgd"].options()).attention(on)
    assert list(shown) == ["level 0", "level 1"]
    for kept, maps in zip(shown.values(), on.teacher["neck"], strict=True):
        torch.testing.assert_close(kept, random_mask(maps, ratio, generator=seeded[1])[:, 0])
    hidden = CARDS["mgd"].options(variant="channels")
    assert load_method(CARDS["mgd"])(hidden).attention(on) == {}


def test_ld_by_hand():
    on = dense_step()
    terms = built(load_method(CARDS["ld"]), CARDS["ld"].options(), on, "dense").losses(on)
    where, other = on.student["head_targets"], on.teacher["head_targets"]
    rows = [rows_of(side["head"].boxes, 4 * BINS) for side in (on.student, on.teacher)]
    chosen = where.rows[where.positive]
    weight = where.logits.sigmoid().max(dim=1).values[where.positive]
    main = 0.25 / BINS * localization_loss(rows[0][chosen], rows[1][chosen], weight, 10.0)
    torch.testing.assert_close(terms["main"], main)
    anchors, expected = on.student["anchors"], 0.0
    counts = [len(level) for level in anchors]
    for image, boxes in enumerate(on.targets.boxes):
        weights = valuable_region(torch.cat(anchors), boxes, counts).split(counts)
        for level, values in enumerate(weights):
            ours, theirs = (
                side["head"].boxes[level][image].flatten(1).T for side in (on.student, on.teacher)
            )
            expected += 0.25 / BINS / 4 * localization_loss(ours, theirs, values, 10.0)
    torch.testing.assert_close(terms["vlr"], expected)
    size = 2 * counts[0]
    kd = 0.0
    for level in (chosen < size, chosen >= size):
        if level.any():
            ours, theirs = (side.logits[where.positive][level] for side in (where, other))
            kd += 10 / CLASSES * soft_target_loss(ours, theirs, 2.0)
    torch.testing.assert_close(terms["kd"], kd)


def test_ld_refuses_heads_without_distributions():
    on = dense_step()
    for side in (on.student, on.teacher):
        boxes = tuple(level[:, :4] for level in side["head"].boxes)
        side["head"] = replace(side["head"], boxes=boxes)
    with pytest.raises(UserError, match="choose a pair of GFL models"):
        built(load_method(CARDS["ld"]), CARDS["ld"].options(), on, "dense")


def test_bckd_by_hand():
    on = dense_step()
    terms = built(load_method(CARDS["bckd"]), CARDS["bckd"].options(), on, "dense").losses(on)
    where, other = on.student["head_targets"], on.teacher["head_targets"]
    torch.testing.assert_close(terms["class"], consistency_loss(where.logits, other.logits, where.weights, 3))
    boxes = [
        torch.cat([level.flatten(0, 1) for level in side["head_boxes"]]) for side in (on.student, on.teacher)
    ]
    weights = (where.logits.sigmoid() - other.logits.sigmoid()).abs().max(dim=1).values
    expected = 4 * box_consistency_loss(boxes[0][where.rows], boxes[1][where.rows], weights, 3)
    torch.testing.assert_close(terms["box"], expected)


def crossed(**options):
    on = dense_step(channels=(6, 6))
    return on, built(load_method(CARDS["crosskd"]), CARDS["crosskd"].options(**options), on, "dense")


def test_crosskd_reaches_the_hidden_maps_and_not_the_students_predictors():
    on, method = crossed()
    assert list(method.parameters()) == []
    total(method.losses(on)).backward()
    assert method.at == on.teacher_tail.after == 1
    hidden = on.student["head_hidden"]
    assert all(maps.grad.any() for both in hidden[0] for maps in both)
    assert all(maps.grad is None for both in hidden[1] for maps in both)
    assert all(maps.grad is None for maps in (*on.student["head"].logits, *on.student["head"].boxes))
    assert all(parameter.grad is None for parameter in on.teacher_tail.parameters())


def test_crosskd_of_the_teachers_own_maps_is_nothing():
    on, method = crossed(at=2)
    own = on.teacher_tail(on.teacher["head_hidden"][1], after=2)
    teacher = {**on.teacher, "head": own}
    rows = on.teacher["head_targets"].rows
    teacher["head_targets"] = replace(on.teacher["head_targets"], logits=rows_of(own.logits, CLASSES)[rows])
    student = {**on.student, "head_hidden": on.teacher["head_hidden"]}
    terms = method.losses(replace(on, student=student, teacher=teacher))
    assert terms["class"].item() == pytest.approx(0, abs=1e-4)
    assert terms["box"].item() == pytest.approx(0, abs=1e-6)


def test_crosskd_takes_boxes_where_there_are_no_distributions():
    on, method = crossed()
    expected = method.losses(on)["class"]
    method.bins, method.box_weight = 1, 1.0
    terms = method.losses(on)
    torch.testing.assert_close(terms["class"], expected)
    where = on.student["head_targets"]
    cross = torch.cat([level.flatten(0, 1) for level in on.teacher_boxes(method._crossed(on))])[where.rows]
    theirs = torch.cat([level.flatten(0, 1) for level in on.teacher["head_boxes"]])[where.rows]
    sure = on.teacher["head_targets"].logits.sigmoid().max(dim=1).values
    torch.testing.assert_close(terms["box"], box_consistency_loss(cross, theirs, sure, where.normaliser))


def test_crosskd_behind_the_last_convolution_is_refused():
    with pytest.raises(UserError, match="behind the heads' last convolution"):
        crossed(at=3)


def test_dkd_takes_every_pixel_that_is_judged():
    on = segmentation_step()
    terms = built(
        load_method(CARDS["dkd"]), CARDS["dkd"].options(standardise=True), on, "segmentation"
    ).losses(on)
    rows = [
        side["softmax_logits"].values[0].movedim(1, -1)[:, 1:].flatten(0, 2)
        for side in (on.student, on.teacher)
    ]
    labels = on.targets.masks[:, 16::16, ::16].flatten()
    expected = decoupled_loss(*(standardised_logits(part) for part in rows), labels, 1.0, 0.25, 1.0)
    torch.testing.assert_close(terms["decoupled"], expected)


def test_mgd_draws_anew_and_has_its_families_constants():
    on = step("two-stage")
    method = built(load_method(CARDS["mgd"]), CARDS["mgd"].options(), on, "two-stage")
    assert (method.weight, method.ratio) == (5e-7, 0.45)
    first, second = (method.losses(on)["generation"].item() for _ in range(2))
    assert first != second
    again = [
        method.losses(replace(on, generator=torch.Generator().manual_seed(1)))["generation"].item()
        for _ in range(2)
    ]
    assert again[0] == again[1]
    last = built(load_method(CARDS["mgd"]), CARDS["mgd"].options(where="backbone"), on, "dense")
    assert len(last.generators) == 1


def test_cirkd_remembers_before_it_draws_and_goes_on_where_it_was():
    on, options = segmentation_step(), CARDS["cirkd"].options(pixels=40, regions=5)
    method, other = (built(load_method(CARDS["cirkd"]), options, on, "segmentation") for _ in range(2))
    method.losses(on)
    assert method.memories["region"].position.tolist() == [2] * CLASSES
    labels = on.targets.masks[:, ::16, ::16]
    counts = [sum(min(16, (image == label).sum().item()) for image in labels) for label in range(CLASSES)]
    assert method.memories["pixel"].position.tolist() == counts
    other.load_state_dict(method.state_dict())
    found = []
    for each in (method, other):
        fresh = replace(on, generator=torch.Generator().manual_seed(2))
        found.append({name: term.item() for name, term in each.losses(fresh).items()})
    assert found[0] == found[1]


def test_hinton_standardises():
    on = step("two-stage")
    terms = built(load_method(CARDS["hinton"]), CARDS["hinton"].options(standardise=True), on).losses(on)
    logits = [standardised_logits(side["logits"].values[0]) for side in (on.student, on.teacher)]
    torch.testing.assert_close(
        terms["soft"], soft_target_loss(*logits, CARDS["hinton"].options().temperature)
    )
    for family, other in (("dense", dense_step()), ("two-stage", step("two-stage"))):
        if family == "two-stage":
            for side in (other.student, other.teacher):
                side["logits"] = replace(side["logits"], values=(side["logits"].values[0][:, :1],))
        with pytest.raises(UserError, match="at least two classes"):
            built(load_method(CARDS["hinton"]), CARDS["hinton"].options(standardise=True), other, family)


def test_a_level_of_one_cell_and_one_image():
    on = step("two-stage", strides=(32, 64))
    small = {
        role: {
            **side,
            "neck": tuple(level[:1, :, :1, :1].detach().requires_grad_() for level in side["neck"]),
        }
        for role, side in (("student", on.student), ("teacher", on.teacher))
    }
    one = Targets((on.targets.boxes[0],), (on.targets.labels[0],), None, IMAGE)
    tiny = replace(on, **small, targets=one)
    for name in ("at", "mgd", "fgd", "reviewkd", "defeat", "fbkd"):
        options = CARDS[name].options(variant="neck") if name == "defeat" else CARDS[name].options()
        method = built(load_method(CARDS[name]), options, tiny, "two-stage")
        loss = total(method.losses(tiny))
        loss.backward()
        assert all(
            torch.isfinite(level.grad).all() for level in tiny.student["neck"] if level.grad is not None
        )
