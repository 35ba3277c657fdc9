"""The method's share of the gradient on backbone and neck, and that measuring it changes nothing."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn


def test_a_share_is_that_of_the_gradients_norms():
    from kdbench.openmmlab.training.losses import share_of

    weight = nn.Parameter(torch.tensor([1.0, 2.0]))
    unused = nn.Parameter(torch.ones(3))
    method, task = 3 * weight[0], 4 * weight[1] + weight[0].detach()
    assert share_of(method, task, [weight, unused]) == pytest.approx(3 / 7)
    assert share_of(torch.zeros(()), task, [weight]) == 0
    assert share_of(0 * method, 0 * task, [weight]) == 0
    assert share_of(method, 0 * task, [weight]) == 1
    assert weight.grad is None
    (method + task).backward()  # the graph is still there
    assert weight.grad.tolist() == [3, 4]


def test_backbone_and_neck_are_what_task_and_method_share():
    from kdbench.openmmlab.training.losses import shared_parameters

    student = nn.ModuleDict({"backbone": nn.Linear(2, 2), "neck": nn.Linear(2, 2), "head": nn.Linear(2, 2)})
    student["backbone"].bias.requires_grad_(False)
    holder = SimpleNamespace(backbone=student["backbone"], neck=student["neck"], head=student["head"])
    assert [p.shape for p in shared_parameters(holder)] == [(2, 2), (2, 2), (2,)]
    assert len(shared_parameters(SimpleNamespace(backbone=student["backbone"]))) == 1


def test_shares_are_means_at_the_start_a_quarter_and_half():
    from kdbench.openmmlab.training.losses import Shares

    shares = Shares(100)
    for iteration in range(100):
        shares.note(iteration, iteration / 100)
    shares.note(2, float("nan"))
    expected = {"start": 0.02, "quarter": 0.27, "half": 0.52}
    assert shares.means() == pytest.approx(
        {f"gradient_share_{name}": mean for name, mean in expected.items()}
    )
    assert [iteration for iteration in range(100) if shares.due(iteration)] == [
        *range(5),
        *range(25, 30),
        *range(50, 55),
    ]


def test_measuring_changes_no_bit_of_the_training(bench, monkeypatch):
    from kdbench.openmmlab.training.losses import Shares

    ended = []
    for measured in (True, False):
        if not measured:
            monkeypatch.setattr(Shares, "due", lambda _self, _iteration: [])
        model = bench.distiller("gfl", "hinton").train()
        inputs, samples = bench.probe("gfl").batch(model.student)
        loss, _ = model.parse_losses(model(inputs, samples, mode="loss"))
        loss.backward()
        ended.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
        assert bool(model.shares.means()) is measured
    assert ended[0].keys() == ended[1].keys()
    assert all(torch.equal(ended[0][name], ended[1][name]) for name in ended[0])


def test_a_resumed_training_has_the_shares_of_its_first_part():
    from kdbench.openmmlab.training.hooks import SharesHook
    from kdbench.openmmlab.training.losses import Shares

    hub = SimpleNamespace(runtime_info={})
    hub.update_info = hub.runtime_info.__setitem__
    hub.get_info = hub.runtime_info.__getitem__
    first, second = Shares(100), Shares(100)
    runner = SimpleNamespace(message_hub=hub, iter=0, model=SimpleNamespace(shares=first))
    SharesHook().before_train(runner)
    first.note(0, 0.5)
    SharesHook().after_train_iter(runner, 0)
    resumed = SimpleNamespace(message_hub=hub, iter=30, model=SimpleNamespace(shares=second))
    SharesHook().before_train(resumed)
    assert second.means() == {"gradient_share_start": 0.5}
