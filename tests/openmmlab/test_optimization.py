from __future__ import annotations

import math

import pytest
import torch
from mmengine.optim.scheduler import CosineAnnealingLR, LinearLR, MultiStepLR, PolyLR
from torch import nn

from kdbench.openmmlab.optimization import learning_rate, optim_wrapper
from kdbench.specs import Schedule

KINDS = {
    "LinearLR": LinearLR,
    "CosineAnnealingLR": CosineAnnealingLR,
    "PolyLR": PolyLR,
    "MultiStepLR": MultiStepLR,
}
LR = 0.1


def schedule(**changes):
    fields = {"iterations": 18, "batch_size": 2, "lr": LR, "scale": (64, 64), **changes}
    return Schedule(**fields)


def rates(recipe):
    """The learning rate of each iteration, as mmengine's hook steps the schedulers."""
    wrapper = optim_wrapper(nn.Linear(2, 1), nn.Identity(), recipe, amp=False)
    schedulers = []
    for config in learning_rate(recipe):
        kind = KINDS[config.pop("type")]
        schedulers.append(kind(wrapper.optimizer, **config))
    found = []
    for _ in range(recipe.iterations):
        found.append(wrapper.optimizer.param_groups[0]["lr"])
        wrapper.optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return found, wrapper.optimizer.param_groups[0]["lr"]


def test_cosine_falls_to_nothing():
    found, end = rates(schedule())
    assert found == pytest.approx([LR * (1 + math.cos(math.pi * i / 18)) / 2 for i in range(18)])
    assert end == pytest.approx(0, abs=1e-9)


def test_poly():
    found, _ = rates(schedule(decay="poly"))
    assert found == pytest.approx([LR * (1 - i / 18) ** 0.9 for i in range(18)])


def test_steps_at_two_thirds_and_eight_ninths():
    found, _ = rates(schedule(decay="step"))
    assert found == pytest.approx([LR] * 12 + [LR / 10] * 4 + [LR / 100] * 2)


@pytest.mark.parametrize("decay", ["cosine", "poly"])
def test_warm_up_rises_to_the_peak_and_the_decay_begins_there(decay):
    found, _ = rates(schedule(warmup=5, decay=decay))
    assert found[0] == pytest.approx(LR / 100)
    assert all(later > earlier for earlier, later in zip(found[:5], found[1:6], strict=True))
    assert max(found) == pytest.approx(LR, rel=0.02)
    assert all(later < earlier for earlier, later in zip(found[6:], found[7:], strict=False))


def test_a_warm_up_longer_than_the_run():
    found, _ = rates(schedule(iterations=4, warmup=100))
    assert len(found) == 4
    assert found[0] == pytest.approx(LR / 100)
    assert all(0 < rate <= LR for rate in found)


@pytest.mark.parametrize("name", ["SGD", "AdamW"])
def test_a_group_for_the_student_and_one_for_the_method(name):
    student, method = nn.Linear(2, 3), nn.Linear(4, 5)
    student.bias.requires_grad_(False)
    wrapper = optim_wrapper(student, method, schedule(optimizer=name, weight_decay=0.03), amp=False)
    groups = wrapper.optimizer.param_groups
    assert type(wrapper.optimizer).__name__ == name
    assert [[id(p) for p in group["params"]] for group in groups] == [
        [id(student.weight)],
        [id(method.weight), id(method.bias)],
    ]
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [(LR, 0.03)] * 2


def test_a_method_without_parameters_has_no_group():
    wrapper = optim_wrapper(nn.Linear(2, 3), nn.Identity(), schedule(), amp=False)
    assert len(wrapper.optimizer.param_groups) == 1


def stepped(adapter_gradient, clip):
    """A student's weights after one step, and the adapter's clipped gradient."""
    torch.manual_seed(0)
    student, method = nn.Linear(3, 1, bias=False), nn.Linear(3, 1, bias=False)
    wrapper = optim_wrapper(student, method, schedule(clip_norm=clip), amp=False)
    loss = (student.weight * torch.tensor([3.0, 0.0, 4.0])).sum() + method.weight.sum() * adapter_gradient
    wrapper.backward(loss)
    wrapper.step()
    return student.weight, student.weight.grad, method.weight.grad


def test_each_group_is_clipped_by_its_own_norm():
    plain, gradient, _ = stepped(0.0, 1.0)
    assert torch.allclose(gradient, torch.tensor([[0.6, 0.0, 0.8]]), atol=1e-5)
    beside, _, adapters = stepped(1e6, 1.0)
    assert torch.equal(plain, beside)
    assert float(adapters.norm()) == pytest.approx(1.0, rel=1e-4)


def test_without_clipping_gradients_stay():
    _, gradient, adapters = stepped(7.0, None)
    assert torch.equal(gradient, torch.tensor([[3.0, 0.0, 4.0]]))
    assert torch.equal(adapters, torch.full((1, 3), 7.0))


def test_a_gradient_below_the_norm_stays():
    _, gradient, _ = stepped(0.0, 6.0)
    assert torch.equal(gradient, torch.tensor([[3.0, 0.0, 4.0]]))
