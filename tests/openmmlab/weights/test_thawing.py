"""A model without initial weights is trained in full, whatever its config freezes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from small_bench import Silent
from torch.nn.modules.batchnorm import _BatchNorm

from kdbench.openmmlab.weights.thawing import thawing

FREEZING = {
    "backbone.frozen_stages": 1,
    "backbone.norm_eval": True,
    "backbone.norm_cfg": {"type": "BN", "requires_grad": False},
}


def subject(bench, **edits):
    plain = bench.subject("gfl")
    return replace(plain, model=plain.model.model_copy(update={"edits": plain.model.edits | edits}))


def test_every_layer_is_trained_and_it_is_said(bench, tmp_path):
    from kdbench.openmmlab.students import train_alone

    frozen = subject(bench, **FREEZING)
    before = {name: value.clone() for name, value in frozen.build().named_parameters()}
    outcome = train_alone(frozen, bench.place(tmp_path), Silent())
    after = torch.load(tmp_path / "student.pth", weights_only=True)["state_dict"]
    assert [name for name, value in before.items() if torch.equal(value, after[name])] == []
    variances = [value for name, value in after.items() if name.endswith("running_var")]
    assert variances
    assert not any(bool((value == 1).all()) for value in variances)
    (note,) = outcome.notes  # 5 convolutions of the stem and the first stage, all 20 BatchNorm layers
    assert note.startswith("trained in full: its config freezes 25 layers (backbone.conv1 to backbone.layer4")


def test_nothing_is_said_of_a_model_that_freezes_nothing(bench):
    plain = bench.subject("gfl")
    assert thawing(plain.config(), plain.dataset) == []


@pytest.mark.parametrize("given", ["pretrained", "checkpoint"])
def test_a_model_that_has_weights_stays_frozen(bench, tmp_path, given):
    weights = tmp_path / "weights.pth"
    torch.save({"state_dict": bench.subject("gfl").build().state_dict()}, weights)
    start = {"backbone.init_cfg": {"type": "Pretrained", "checkpoint": str(weights), "prefix": "backbone."}}
    if given == "pretrained":
        model = replace(subject(bench, **FREEZING, **start), pretrained=True).build().train()
    else:
        model = subject(bench, **FREEZING).loaded(weights)[0].train()
    assert not model.backbone.conv1.weight.requires_grad
    assert not any(part.training for part in model.backbone.modules() if isinstance(part, _BatchNorm))
