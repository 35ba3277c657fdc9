from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from fake_steps import built, step, total
from pydantic import ValidationError

from kdbench.distill import Assignment
from kdbench.errors import UserError
from kdbench.plugins import registry
from kdbench.selectors import parse, resolve
from kdbench_papers.chen.card import CARD, PARTS, ChenOptions
from kdbench_papers.chen.losses import (
    hint_loss,
    regression_l2,
    teacher_bounded_l2,
    weighted_sigmoid_cross_entropy,
    weighted_soft_cross_entropy,
)
from kdbench_papers.chen.method import Chen

CLASSES = 3
SAMPLED, POSITIVE = 20, 6
HEADS = {"two-stage": ("rpn", "roi"), "dense": ("head",)}
COLUMNS = {"rpn": 1, "roi": CLASSES + 1, "head": CLASSES}


def assignments(family, positives):
    """Return the student's and the teacher's assignments, by head."""

    def one(name):
        shared = torch.zeros(SAMPLED, dtype=torch.long), torch.arange(positives), torch.randn(positives, 4)
        activation = "softmax" if name == "roi" else "sigmoid"
        sides = [
            (torch.randn(SAMPLED, COLUMNS[name], requires_grad=True), torch.randn(positives, 4, requires_grad=True))
            for _ in range(2)
        ]  # fmt: skip
        labels, positive, targets = shared
        more = torch.arange(SAMPLED), torch.ones(SAMPLED), torch.tensor(float(max(positives, 1)))
        return [
            Assignment(logits, activation, labels, positive, boxes, targets, *more) for logits, boxes in sides
        ]

    pairs = {name: one(name) for name in HEADS[family]}
    return [{name: pair[side] for name, pair in pairs.items()} for side in range(2)]


def made(family="two-stage", channels=(4, 6), positives=POSITIVE, **options):
    """Return a step, and the method built for it."""
    on = step(family, channels=channels)
    student, teacher = assignments(family, positives)
    on = replace(
        on,
        student={**on.student, "assignments": student},
        teacher={**on.teacher, "assignments": teacher},
    )
    return on, built(Chen, ChenOptions(**options), on)


TERMS = {
    "l2": ["rpn_regression", "roi_regression"],
    "l2-b": ["rpn_regression", "roi_regression"],
    "cls": ["rpn_soft", "roi_soft"],
    "cls-w": ["rpn_soft", "roi_soft"],
    "hints": ["hint"],
    "hints-a": ["hint"],
    "l2-b+cls-w": ["rpn_regression", "rpn_soft", "roi_regression", "roi_soft"],
    "all": ["rpn_regression", "rpn_soft", "roi_regression", "roi_soft", "hint"],
}


@pytest.mark.parametrize("variant", PARTS)
@pytest.mark.parametrize("family", HEADS)
def test_every_variant_in_both_families(variant, family):
    on, method = made(family, variant=variant)
    terms = method.losses(on)
    expected = {name.replace("rpn", "head") for name in TERMS[variant] if "roi" not in name}
    assert set(terms) == (set(TERMS[variant]) if family == "two-stage" else expected)
    total(terms).backward()
    adapts = "hints" in variant or variant == "all"
    assert bool(list(method.parameters())) == adapts
    assert all(bool(parameter.grad.abs().sum() > 0) for parameter in method.parameters())
    for own, theirs in zip(*(side["assignments"].values() for side in (on.student, on.teacher)), strict=True):
        assert theirs.logits.grad is theirs.boxes.grad is None
        assert (own.logits.grad is not None) == ("cls" in variant or variant == "all")
        assert (own.boxes.grad is not None) == ("l2" in variant or variant == "all")
    assert all(level.grad is None for level in on.teacher["neck"])


@pytest.mark.parametrize("variant", PARTS)
def test_it_needs_what_the_variant_uses(variant):
    hints, heads = "hint" in variant or variant == "all", "hint" not in variant
    expected = {name for name, used in (("neck", hints), ("assignments", heads)) if used}
    assert set(Chen(ChenOptions(variant=variant)).needs()) == expected


def test_the_terms_are_the_papers():
    on, method = made(nu=0.3, mu=0.25, background_weight=2.0, margin=0.5, gamma=0.7)
    terms = method.losses(on)
    own, theirs = on.student["assignments"], on.teacher["assignments"]
    soft = weighted_soft_cross_entropy(own["roi"].logits, theirs["roi"].logits, CLASSES, 2.0)
    torch.testing.assert_close(terms["roi_soft"], 0.75 * soft)
    z, v = own["rpn"].logits, theirs["rpn"].logits
    q, p = z.sigmoid(), v.sigmoid().detach()
    rpn = -(p * q.log() + 2.0 * (1 - p) * (1 - q).log()).mean()
    torch.testing.assert_close(terms["rpn_soft"], 0.75 * rpn)
    for name in ("rpn", "roi"):
        a, b = own[name], theirs[name]
        bounded = teacher_bounded_l2(a.boxes, b.boxes, a.targets, 0.5)
        torch.testing.assert_close(terms[f"{name}_regression"], 0.3 * bounded * POSITIVE / SAMPLED)
    adapted = [
        adapt(ours, theirs.shape[-2:])
        for adapt, ours, theirs in zip(
            method.adaptations, on.student["neck"], on.teacher["neck"], strict=True
        )
    ]
    hints = [hint_loss(a, t) for a, t in zip(adapted, on.teacher["neck"], strict=True)]
    torch.testing.assert_close(terms["hint"], 0.7 * sum(hints) / len(hints))


def test_the_terms_in_a_dense_detector():
    on, method = made("dense", variant="l2-b+cls-w")
    terms = method.losses(on)
    own, theirs = on.student["assignments"]["head"], on.teacher["assignments"]["head"]
    soft = weighted_sigmoid_cross_entropy(own.logits, theirs.logits, 1.5)
    torch.testing.assert_close(terms["head_soft"], 0.5 * soft)
    bounded = teacher_bounded_l2(own.boxes, theirs.boxes, own.targets)
    torch.testing.assert_close(terms["head_regression"], 0.5 * bounded)


def test_the_variants_differ_as_their_names_say():
    on, weighted = made(variant="cls-w")
    plain = Chen(ChenOptions(variant="cls"))
    by_hand = Chen(ChenOptions(variant="cls-w", background_weight=1.0))
    for name, term in plain.losses(on).items():
        assert torch.equal(term, by_hand.losses(on)[name])
        assert term < weighted.losses(on)[name]
    on, method = made(variant="l2")
    own, theirs = on.student["assignments"]["roi"], on.teacher["assignments"]["roi"]
    expected = 0.5 * regression_l2(own.boxes, theirs.boxes) * POSITIVE / SAMPLED
    torch.testing.assert_close(method.losses(on)["roi_regression"], expected)


def test_hints_adapt_only_where_they_must():
    same, always = (made(channels=(6, 6), variant=v)[1] for v in ("hints", "hints-a"))
    assert list(same.parameters()) == []
    assert [conv.conv.weight.shape for conv in always.adaptations] == [(6, 6, 1, 1)] * 2
    differing, _ = (made(channels=(4, 6), variant=v)[1] for v in ("hints", "hints-a"))
    assert [conv.conv.weight.shape for conv in differing.adaptations] == [(6, 4, 1, 1)] * 2


def test_the_bound_gates_each_box():
    on, method = made(variant="l2-b")
    own, theirs = on.student["assignments"]["roi"], on.teacher["assignments"]["roi"]
    method.losses(on)["roi_regression"].backward()
    better = (own.boxes - own.targets).square().sum(1) <= (theirs.boxes - own.targets).square().sum(1)
    assert 0 < int(better.sum()) < POSITIVE
    assert torch.equal((own.boxes.grad != 0).any(dim=1), ~better)


@pytest.mark.parametrize("family", HEADS)
def test_without_positives_the_regression_is_nothing(family):
    on, method = made(family, positives=0)
    terms = method.losses(on)
    total(terms).backward()
    assert all(float(term.detach()) == 0 for name, term in terms.items() if name.endswith("_regression"))


@pytest.mark.parametrize("family", HEADS)
def test_autocast(family):
    on, method = made(family)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = method.losses(on)
    total(terms).backward()


def test_the_hard_labels_weigh_mu_where_there_are_soft_ones():
    weights = {name: Chen(ChenOptions(variant=name, mu=0.3)).classification_weight(step()) for name in PARTS}
    assert {name for name, weight in weights.items() if weight == 0.3} == {
        "cls",
        "cls-w",
        "l2-b+cls-w",
        "all",
    }
    assert {weights[name] for name in ("l2", "l2-b", "hints", "hints-a")} == {1.0}
    assert Chen(ChenOptions()).task_weight(step()) == 1.0


def test_levels_must_agree():
    with pytest.raises(UserError, match="student's neck has 1 levels, the teacher's 2"):
        built(Chen, ChenOptions(variant="hints"), step(strides=(8,), teacher_strides=(8, 16)))


@pytest.mark.parametrize("variant", PARTS)
def test_the_selector_of_every_variant(variant):
    name, raw = parse(f"chen[variant={variant}]")
    assert resolve(registry().method(name).value, raw) == ChenOptions(variant=variant)
    assert CARD.variants[variant]


@pytest.mark.parametrize(
    "wrong",
    [{"variant": "l2+cls"}, {"mu": 0}, {"mu": 1.1}, {"nu": -1}, {"gamma": -1}, {"margin": -1}, {"x": 1}],
)
def test_options_are_checked(wrong):
    with pytest.raises(ValidationError):
        ChenOptions(**wrong)


def test_the_papers_tables():
    rows = CARD.published()
    four = {(row["variant"], row["dataset"]): float(row["value"]) for row in rows if row["table"] == "4"}
    assert {variant for variant, _ in four} == {"plain", *PARTS}
    assert four["all", "VOC07"] - four["plain", "VOC07"] == pytest.approx(4.7)
    one = [row for row in rows if row["table"] == "1"]
    assert len(one) == 5 * 10 + 1  # plus the second baseline that the paper's own gain implies
    assert len([row for row in rows if row["table"] == "2"]) == 6
    assert [row["note"] for row in rows if row["source"] != "P"] == ["24.4 less the printed gain"]
