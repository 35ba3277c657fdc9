"""The method of Chen et al. in every family of detectors."""

from __future__ import annotations

import pytest
import torch

from kdbench.distill.randomness import seeded
from kdbench.errors import UserError

DETECTORS = ["faster", "retinanet", "gfl", "fcos"]
NOTHING = "chen[mu=1,nu=0,gamma=0]"
"""No part has a weight."""


def first_step(bench, kind, selector):
    """A distiller after the backward pass of its first iteration, and its losses and terms."""
    model = bench.distiller(kind, selector).train()
    inputs, samples = bench.probe(kind).batch(model.student)
    losses, terms, _ = model.compute(inputs, samples)
    return model, losses, terms


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(ours, theirs):
    return list(ours) == list(theirs) and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("kind", DETECTORS)
def test_the_first_step_in_each_family(bench, kind):
    teacher = bench.teacher(kind).model
    before = weights(teacher)
    model, losses, terms = first_step(bench, kind, "chen")
    heads = ["rpn", "roi"] if kind == "faster" else ["head"]
    assert list(terms) == [f"{head}_{part}" for head in heads for part in ("soft", "regression")] + ["hint"]
    assert all(bool(torch.isfinite(term)) and float(term) > 0 for term in terms.values())
    torch.stack(list(terms.values())).sum().backward()
    for parameter in model.method.parameters():
        assert bool(parameter.grad.abs().sum() > 0)
    gradients = [parameter.grad for parameter in model.student.parameters() if parameter.grad is not None]
    assert gradients
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert same(weights(teacher), before)
    plain, _, _ = model_losses(bench, kind, "none")
    for name, value in plain.items():
        factor = 0.5 if "cls" in name else 1.0
        for ours, whole in zip(as_list(losses[name]), as_list(value), strict=True):
            assert torch.equal(ours, whole * factor), name


def model_losses(bench, kind, selector):
    model = bench.distiller(kind, selector).train()
    inputs, samples = bench.probe(kind).batch(model.student)
    return model.compute(inputs, samples)


def as_list(value):
    return [value] if isinstance(value, torch.Tensor) else value


@pytest.mark.parametrize("kind", DETECTORS)
def test_a_box_that_the_bound_leaves_out_gives_the_head_no_gradient(bench, kind):
    """Each positive's own gradient, at the student's head outputs: zero exactly where it beats the teacher."""
    from kdbench.distill import Step
    from kdbench.openmmlab.captures.families import captures_of, recording

    model = bench.distiller(kind, "chen[variant=l2-b]").train()
    inputs, samples = bench.probe(kind).batch(model.student)
    names = model.names
    with seeded("test"), recording(model.student) as raw:
        model.student(inputs, samples, mode="loss")
    own = captures_of(model.student, raw, names)
    theirs = model.teacher.captures(inputs, samples, model.student, raw, names)
    name = "roi" if kind == "faster" else "head"
    outputs = [raw["roi_head"][1]] if name == "roi" else list(raw["head"][1])
    student, teacher = own["assignments"][name], theirs["assignments"][name]
    # every second box: the teacher is right; every other: it is far away
    near = torch.arange(len(student.boxes)) % 2 == 0
    assert 0 < int(near.sum()) < len(near)
    teacher.boxes.copy_(torch.where(near[:, None], student.targets, student.targets + 100))
    step = Step(own, theirs, None, inputs, 0, 4)
    term = model.method.losses(step)[f"{name}_regression"]
    gradients = torch.autograd.grad(term, outputs, retain_graph=True)
    (at_boxes,) = torch.autograd.grad(term, [student.boxes])
    assert torch.equal((at_boxes != 0).any(dim=1), near)
    touched = sum(int((gradient != 0).any(dim=-1).sum()) for gradient in gradients) if name == "roi" else None
    if touched is not None:
        assert touched == int(near.sum())
    else:
        assert sum(int((gradient != 0).sum()) for gradient in gradients) > 0
    teacher.boxes.copy_(student.targets + 100)
    step = Step(own, theirs, None, inputs, 0, 4)
    none = model.method.losses(step)[f"{name}_regression"]
    assert float(none) == 0
    for gradient in torch.autograd.grad(none, [student.boxes]):
        assert torch.equal(gradient, torch.zeros_like(gradient))


@pytest.mark.slow
@pytest.mark.parametrize("kind", DETECTORS)
def test_a_weight_of_zero_is_the_plain_student_and_the_whole_is_not(bench, tmp_path, kind):
    def trained(selector):
        model = bench.distiller(kind, selector)
        bench.train(model, kind, tmp_path / selector[:6])
        return model

    before = weights(bench.teacher(kind).model)
    plain = weights(trained("none").student)
    nothing = trained(NOTHING)
    assert same(weights(nothing.student), plain)
    whole = trained("chen")
    assert not same(weights(whole.student), plain)
    assert not same(weights(whole.method), weights(nothing.method))  # which weight decay moves as well
    assert all(bool(torch.isfinite(value.float()).all()) for value in whole.state_dict().values())
    assert same(weights(bench.teacher(kind).model), before)


@pytest.mark.parametrize("kind", ["faster", "gfl"])
def test_terms_stay_in_float32_under_autocast(bench, kind):
    model = bench.distiller(kind, "chen").train()
    inputs, samples = bench.probe(kind).batch(model.student)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _, terms, _ = model.compute(inputs, samples)
    assert all(term.dtype == torch.float32 and bool(torch.isfinite(term)) for term in terms.values())
    torch.stack(list(terms.values())).sum().backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)


def test_it_does_not_work_in_segmentation(bench):
    with pytest.raises(UserError, match="needs assignments, which segmentation models do not have"):
        bench.distiller("pspnet", "chen")


def test_classification_without_a_name_is_refused():
    from kdbench.openmmlab.training.distiller import classification_scaled

    losses = {"decode.loss_ce": torch.ones(()), "decode.acc_cls": torch.ones(())}
    assert classification_scaled(losses, 1.0) is losses
    with pytest.raises(UserError, match=r"none of its losses .* is named so"):
        classification_scaled(losses, 0.5)
    scaled = classification_scaled(
        {"loss_rpn_cls": [torch.ones(())], "loss_bbox": torch.ones(()), "acc_cls": torch.ones(())}, 0.5
    )
    assert {name: float(as_list(value)[0]) for name, value in scaled.items()} == {
        "loss_rpn_cls": 0.5,
        "loss_bbox": 1.0,
        "acc_cls": 1.0,
    }
