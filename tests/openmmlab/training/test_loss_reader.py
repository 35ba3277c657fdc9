"""Losses that are looked at every tenth step still end a run at the right iteration, before harm is saved."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from test_distiller import Constant, with_method

from kdbench.openmmlab.training import losses
from kdbench.openmmlab.training.losses import LossReader, NonFiniteLoss

GPU = torch.device("cuda")


@pytest.fixture
def far(monkeypatch):
    """Treat the CPU as an accelerator: nothing is read in a step that is not looked at."""
    monkeypatch.setattr(losses, "CPU", "none")


def logged(value: float = 1.0) -> dict[str, torch.Tensor]:
    return {"loss": torch.tensor(value), "loss_a": torch.tensor(value), "acc": torch.tensor([2.0])}


def test_a_cpu_is_looked_at_in_each_step_and_an_accelerator_in_every_tenth():
    made = LossReader(25)
    assert made.due(3, GPU)
    made.add(3, logged())
    assert [i for i in range(25) if made.due(i, GPU)] == [3, 9, 19, 24]
    assert all(made.due(i, torch.device("cpu")) for i in range(25))


def test_values_are_those_of_the_step_that_is_looked_at(far):
    made = LossReader(25)
    seen = [made.add(i, logged(float(i))) for i in range(10)]
    assert seen[0] == {"loss": 0.0, "loss_a": 0.0, "acc": 2.0}
    assert seen[9] == {"loss": 9.0, "loss_a": 9.0, "acc": 2.0}
    assert not any(seen[1:9])


def test_the_first_iteration_that_was_not_finite_is_named(far):
    made = LossReader(25)
    for i in range(9):
        made.add(i, logged(float("nan") if i in (4, 6) else 1.0))
    with pytest.raises(NonFiniteLoss, match="loss_a became nan at iteration 4"):
        made.add(9, logged())
    assert made.read() == {}


def test_a_run_ends_before_it_saves_what_such_a_loss_has_spoiled(bench, tmp_path, far):
    constant = Constant(lambda step: float("nan") if step.iteration == 3 else 1.0)
    model = with_method(bench, constant, iterations=30)
    steps = []
    progress = SimpleNamespace(
        advance=lambda iteration, _: steps.append(iteration), evaluated=lambda *_: None
    )
    with pytest.raises(NonFiniteLoss) as caught:
        bench.train(model, "gfl", tmp_path, progress, iterations=30)
    assert (caught.value.iteration, caught.value.name) == (3, "loss_distill_constant")
    assert steps == [1, 2, 3, 4, 5], "the sixth was to be saved"
    weights = torch.load(tmp_path / "iter_3.pth", weights_only=False)["state_dict"]
    assert all(bool(torch.isfinite(value).all()) for value in weights.values())


def test_a_failure_is_told_by_the_loss_before_it(bench, tmp_path, far):
    def fail(step):
        if step.iteration == 2:
            raise RuntimeError("boxes are not numbers")
        return float("inf") if step.iteration == 1 else 1.0

    with pytest.raises(NonFiniteLoss, match="became inf at iteration 1"):
        bench.train(with_method(bench, Constant(fail), iterations=30), "gfl", tmp_path, iterations=30)


def test_a_time_is_that_of_a_step_that_was_looked_at_and_warm():
    from kdbench.openmmlab.training.hooks import StepHook, Watch

    hook = StepHook(SimpleNamespace(advance=lambda *_: None), Watch())
    assert hook.seconds_per_iteration() is None
    hook.durations[3] = 9.0
    assert hook.seconds_per_iteration() is None, "resumed near the end"
    hook.durations |= {9: 2.0, 19: 3.0, 24: 3.0}
    assert hook.seconds_per_iteration() == 3.0
    hook.durations = {0: 4.0, 1: 2.0, 2: 2.0}
    assert hook.seconds_per_iteration() == 2.0, "a run that short has no others"
