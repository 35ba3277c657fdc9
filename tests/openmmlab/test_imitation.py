"""Fine-grained imitation in each detector family: the region is the detector's own, and nothing else is touched."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

KINDS = ("faster", "retinanet", "gfl", "fcos")


def trained(bench, kind, selector, work_dir, **changes):
    model = bench.distiller(kind, selector, **changes)
    bench.train(model, kind, work_dir, **changes)
    return model


def equal(ours, theirs):
    ours, theirs = ours.state_dict(), theirs.state_dict()
    return list(ours) == list(theirs) and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("variant", ["I", "G"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_is_zero_outside_of_the_region(bench, monkeypatch, kind, variant):
    model = bench.distiller(kind, f"fine-grained[variant={variant},held=0]").train()
    steps = []
    losses = model.method.losses
    monkeypatch.setattr(model.method, "losses", lambda step: steps.append(step) or losses(step))
    _, terms, weight = model.compute(*bench.probe(kind).batch(model.student))
    assert weight == 1
    (step,) = steps
    maps = step.student["neck"]
    regions = [region > 0 for region in model.method.attention(step).values()]
    assert len(regions) == len(maps) == 3
    assert 0 < sum(int(region.sum()) for region in regions) < sum(region.numel() for region in regions)
    for region, grad in zip(regions, torch.autograd.grad(terms["imitation"], maps), strict=True):
        # The adaptation's 3x3 convolution reads one cell around the region.
        near = functional.max_pool2d(region.float(), 3, stride=1, padding=1) > 0
        size = grad.abs().sum(dim=1)
        assert not size[~near].any()
        assert (size[region] > 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_each_box_has_a_region_near_it_on_one_level(bench, kind):
    from kdbench_papers.fine_grained.losses import pyramid_masks

    model = bench.distiller(kind, "fine-grained").train()
    steps = []
    model.method.losses = lambda step: steps.append(step) or {}
    model.compute(*bench.probe(kind).batch(model.student))
    (step,) = steps
    grids = [tuple(level.shape[-2:]) for level in step.student["neck"]]
    anchors = step.student["anchors"]
    for box in torch.cat(step.targets.boxes):
        masks = pyramid_masks(anchors, [box[None]], grids)
        assert sum(bool(mask.any()) for mask in masks) == 1
        for mask, level in zip(masks, anchors, strict=True):
            stride = step.targets.image_shape[0] / mask.shape[1]
            reach = (level[:, 2:] - level[:, :2]).max() / 2 + stride
            for _, y, x in mask.nonzero().tolist():
                corner = torch.tensor([x, y]) * stride
                assert (corner > box[:2] - reach).all()
                assert (corner < box[2:] + reach).all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_training_leaves_the_teacher_alone_and_a_weight_of_zero_changes_nothing(bench, tmp_path, kind):
    from kdbench.openmmlab.weights.checkpoints import weights_hash

    before = weights_hash(bench.teacher(kind).model)
    plain = trained(bench, kind, "none", tmp_path / "plain").student
    zero = trained(bench, kind, "fine-grained[weight=0]", tmp_path / "zero")
    assert equal(zero.student, plain)
    held = trained(bench, kind, "fine-grained[held=4]", tmp_path / "held")
    assert equal(held.student, plain)
    model = bench.distiller(kind, "fine-grained[weight=1]", iterations=20)
    adapters = [parameter.detach().clone() for parameter in model.method.parameters()]
    bench.train(model, kind, tmp_path / "whole", iterations=20)
    assert not equal(model.student, plain)
    # A level whose anchors fit no box has no region, and its adaptation stays what it was.
    assert any(not torch.equal(a, b) for a, b in zip(adapters, model.method.parameters(), strict=True))
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())
    assert weights_hash(bench.teacher(kind).model) == before


@pytest.mark.parametrize("variant", ["F", "D", "ID"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_other_variants_reach_the_student(bench, kind, variant):
    model = bench.distiller(kind, f"fine-grained[variant={variant},held=0]").train()
    _, terms, _ = model.compute(*bench.probe(kind).batch(model.student))
    assert set(terms) == {"F": {"imitation"}, "D": {"soft"}, "ID": {"imitation", "soft"}}[variant]
    torch.stack(list(terms.values())).sum().backward()
    grads = [p.grad for p in model.student.backbone.parameters() if p.grad is not None]
    assert any(grad.any() for grad in grads)
    assert all(torch.isfinite(grad).all() for grad in grads)


def test_segmentation_is_refused(bench):
    from kdbench.errors import UserError
    from kdbench.openmmlab.checks.preflight import check_family
    from kdbench.plugins import make_method

    card, options = bench.card("fine-grained")
    with pytest.raises(UserError, match="needs anchors, which segmentation models do not have"):
        check_family(make_method(card, options), "segmentation")
