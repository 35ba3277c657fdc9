"""Gradient accumulation: two batches of one image and a step are one batch of two and a step."""

from __future__ import annotations

import os
import signal

import pytest
import torch
from small_bench import SCHEDULE, Silent
from test_adversary import Rival
from torch import nn

from kdbench.openmmlab.students import _trained_student
from kdbench.openmmlab.training.runner import checkpoint_interval

WHOLE = {"iterations": 2, "batch_size": 2, "clip_norm": 0.05, "optimizer": "SGD"}
"""The clipping acts in each step."""
HALVES = WHOLE | {"iterations": 4, "batch_size": 1, "accumulate": 2}


@pytest.fixture
def steady(monkeypatch):
    """One learning rate throughout, whatever the number of iterations."""
    constant = [{"type": "ConstantLR", "factor": 1.0, "by_epoch": False, "begin": 0, "end": 99}]
    monkeypatch.setattr("kdbench.openmmlab.training.runner.learning_rate", lambda _schedule: constant)


def without_batch_statistics(model):
    """The distiller, with neither BatchNorm nor dropout in its student."""
    for module in list(model.student.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d | nn.Dropout2d):
                setattr(module, name, nn.Identity())
    return model


def trained(bench, selector, folder, settings):
    model = without_batch_statistics(bench.distiller("pspnet", selector, **settings))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    bench.train(model, "pspnet", folder, **settings)
    return {name: value - before[name] for name, value in model.state_dict().items()}


@pytest.mark.parametrize("selector", ["none", "fitnets", "structured[variant=pixel+pair]"])
def test_halves_are_the_whole(bench, tmp_path, steady, selector):
    whole = trained(bench, selector, tmp_path / "whole", WHOLE)
    halves = trained(bench, selector, tmp_path / "halves", HALVES)
    change = torch.cat([value.flatten() for value in whole.values()])
    difference = torch.cat([halves[name].flatten() for name in whole]) - change
    assert float(difference.norm() / change.norm()) < 0.01
    assert float(change.norm()) > WHOLE["clip_norm"] * SCHEDULE.lr


def test_the_average_of_the_weights_moves_with_steps(bench, tmp_path, steady):
    def averaged(name, settings):
        settings = settings | {"average": 0.3}
        model = without_batch_statistics(bench.distiller("pspnet", "none", **settings))
        before = torch.cat([value.detach().flatten() for value in model.student.parameters()])
        average = _trained_student(bench.train(model, "pspnet", tmp_path / name, **settings))
        return torch.cat([value.flatten() for value in average.parameters()]) - before

    change = averaged("whole", WHOLE | {"iterations": 3})
    halves = averaged("halves", HALVES | {"iterations": 6})
    assert float((halves - change).norm() / change.norm()) < 0.01


class Watching(Silent):
    """Keeps a critic's weight after each iteration, and may interrupt."""

    def __init__(self, critic=None, interrupt=None):
        self.critic, self.interrupt, self.weights, self.seen = critic, interrupt, [], []

    def advance(self, iteration, losses):
        self.seen.append(iteration)
        if self.critic is not None:
            self.weights.append(float(self.critic.weight))
        if iteration == self.interrupt:
            os.kill(os.getpid(), signal.SIGINT)


def test_a_critic_steps_with_the_student_by_the_mean_gradient(bench, tmp_path, steady):
    from kdbench.openmmlab.training.distiller import Distiller

    method = Rival(lambda weight, step: weight * (step.iteration + 1.0))
    settings = HALVES | {"iterations": 5}
    student = bench.subject("gfl", **settings).build()
    model = Distiller(
        student, method, bench.teacher("gfl"), seed=0, iterations=5, names=frozenset(method.captures)
    )
    progress = Watching(method.rival)
    bench.train(model, "gfl", tmp_path, progress, **settings)
    # Learning rate 1, from 2.0: gradients 1, 2, 3, 4, and 5 alone at the end.
    assert progress.weights == pytest.approx([2.0, 2.0 - 1.5, 0.5, 0.5 - 3.5, -3.0 - 5.0])


def test_it_stops_between_steps_and_resumes(bench, tmp_path):
    settings = HALVES | {"iterations": 6, "batch_size": 2}
    whole = bench.distiller("pspnet", "hinton", **settings)
    bench.train(whole, "pspnet", tmp_path / "whole", **settings)
    first = Watching(interrupt=3)
    with pytest.raises(KeyboardInterrupt):
        bench.train(
            bench.distiller("pspnet", "hinton", **settings), "pspnet", tmp_path / "cut", first, **settings
        )
    assert first.seen == [1, 2, 3, 4]
    second = Watching()
    resumed = bench.distiller("pspnet", "hinton", **settings)
    bench.train(resumed, "pspnet", tmp_path / "cut", second, **settings)
    assert second.seen == [5, 6]
    ours, theirs = resumed.state_dict(), whole.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize(("iterations", "accumulate", "expected"), [(100, 1, 10), (101, 1, 11), (4, 1, 1)])
def test_checkpoints_come_ten_times(iterations, accumulate, expected):
    schedule = SCHEDULE.model_copy(update={"iterations": iterations, "accumulate": accumulate})
    assert checkpoint_interval(schedule) == expected


@pytest.mark.parametrize(("iterations", "accumulate"), [(100, 3), (7, 4), (1000, 8), (6, 2)])
def test_checkpoints_come_between_steps(iterations, accumulate):
    schedule = SCHEDULE.model_copy(update={"iterations": iterations, "accumulate": accumulate})
    assert checkpoint_interval(schedule) % accumulate == 0
