from __future__ import annotations

import math

import pytest
import torch
from mmengine.optim.scheduler import CosineAnnealingLR, LinearLR, MultiStepLR, PolyLR
from torch import nn

from kdbench.openmmlab.training.optimization import learning_rate, optim_wrapper
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
    wrapper = optim_wrapper(nn.Linear(2, 1), nn.Identity(), recipe, "fp32", "cpu")
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
    return found


def cosine(count):
    """Half a cosine from the peak that would reach 0 after the last iteration."""
    return [LR * (1 + math.cos(math.pi * i / count)) / 2 for i in range(count)]


def poly(count):
    """Power 0.9 from the peak to 0 at the last iteration, as mmengine has it."""
    return [LR * (1 - i / (count - 1)) ** 0.9 for i in range(count)]


def test_cosine_falls_to_nothing():
    assert rates(schedule()) == pytest.approx(cosine(18))


def test_poly_ends_at_nothing():
    assert rates(schedule(decay="poly")) == pytest.approx(poly(18))


def test_steps_at_two_thirds_and_eight_ninths():
    assert rates(schedule(decay="step")) == pytest.approx([LR] * 12 + [LR / 10] * 4 + [LR / 100] * 2)


@pytest.mark.parametrize(("decay", "curve"), [("cosine", cosine), ("poly", poly)])
def test_warm_up_rises_to_the_peak_and_the_decay_begins_there(decay, curve):
    rising = [LR * (0.01 + 0.99 * i / 4) for i in range(5)]
    assert rates(schedule(warmup=5, decay=decay)) == pytest.approx(rising + curve(13))


def test_a_warm_up_longer_than_the_run_ends_one_before_its_last_iteration():
    assert rates(schedule(iterations=4, warmup=100)) == pytest.approx([0.01 * LR, 0.505 * LR, LR, LR])


@pytest.mark.parametrize("name", ["SGD", "AdamW"])
def test_a_group_for_the_student_and_one_for_the_method(name):
    student, method = nn.Linear(2, 3), nn.Linear(4, 5)
    student.bias.requires_grad_(False)
    wrapper = optim_wrapper(student, method, schedule(optimizer=name, weight_decay=0.03), "fp32", "cpu")
    groups = wrapper.optimizer.param_groups
    assert type(wrapper.optimizer).__name__ == name
    assert [[id(p) for p in group["params"]] for group in groups] == [
        [id(student.weight)],
        [id(method.weight), id(method.bias)],
    ]
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [(LR, 0.03)] * 2


def test_a_method_without_parameters_has_no_group():
    wrapper = optim_wrapper(nn.Linear(2, 3), nn.Identity(), schedule(), "fp32", "cpu")
    assert len(wrapper.optimizer.param_groups) == 1


def stepped(adapter_gradient, clip):
    """A student's weights after one step, and the adapter's clipped gradient."""
    torch.manual_seed(0)
    student, method = nn.Linear(3, 1, bias=False), nn.Linear(3, 1, bias=False)
    wrapper = optim_wrapper(student, method, schedule(clip_norm=clip), "fp32", "cpu")
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


def test_a_critic_is_neither_clipped_nor_stepped_and_shrinks_nobody():
    """Its gradient, left over from a step of its own, is in no group's norm."""
    torch.manual_seed(0)
    student, adapter, critic = (nn.Linear(3, 1, bias=False) for _ in range(3))
    critic.requires_grad_(False)  # as the distiller holds it, but in its own step
    critic.weight.grad = torch.full((1, 3), 1e6)
    before = critic.weight.clone()
    method = nn.ModuleDict({"adapter": adapter, "critic": critic})
    wrapper = optim_wrapper(student, method, schedule(clip_norm=1.0), "fp32", "cpu")
    loss = (student.weight * torch.tensor([3.0, 0.0, 4.0])).sum()
    wrapper.backward(loss + critic(adapter.weight * 1e6).sum())
    wrapper.step()
    plain, gradient, _ = stepped(0.0, 1.0)
    assert torch.equal(student.weight, plain)
    assert torch.equal(student.weight.grad, gradient)
    assert float(adapter.weight.grad.norm()) == pytest.approx(1.0, rel=1e-4)
    assert torch.equal(critic.weight, before)
    assert torch.equal(critic.weight.grad, torch.full((1, 3), 1e6))


def test_without_clipping_gradients_stay():
    _, gradient, adapters = stepped(7.0, None)
    assert torch.equal(gradient, torch.tensor([[3.0, 0.0, 4.0]]))
    assert torch.equal(adapters, torch.full((1, 3), 7.0))


def test_a_gradient_below_the_norm_stays():
    _, gradient, _ = stepped(0.0, 6.0)
    assert torch.equal(gradient, torch.tensor([[3.0, 0.0, 4.0]]))


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_the_precision_of_a_forward_pass(precision, dtype):
    model = nn.Linear(2, 3)
    wrapper = optim_wrapper(model, nn.Identity(), schedule(clip_norm=1.0), precision, "cpu")
    with wrapper.optim_context(model):
        output = model(torch.ones(1, 2))
    assert output.dtype == dtype
    wrapper.update_params(output.float().sum())
    assert "loss_scaler" not in wrapper.state_dict()
    assert {p.dtype for p in model.parameters()} == {torch.float32}
