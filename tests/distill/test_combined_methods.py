"""Sums of several methods, with fake methods."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from kdbench.cards import Options
from kdbench.distill import Method, Shapes, Step, Targets
from kdbench.distill.combined import Combined
from kdbench.errors import PluginError, UserError

SHAPES = Shapes({}, {}, 2, (4, 4))


class Drawn(Method[Any]):
    """A method with one parameter, which draws one random number."""

    captures = ("neck",)

    def build(self, shapes: Shapes) -> None:
        self.layer = nn.Linear(2, 2)

    def losses(self, step: Step) -> dict[str, torch.Tensor]:
        return {"drawn": self.layer.weight.sum() * torch.rand((), generator=step.generator)}


class Weighing(Drawn):
    captures = ("neck", "logits")

    def task_weight(self, step: Step) -> float:
        return 0.5

    def classification_weight(self, step: Step) -> float:
        return 0.25


class Staged(Drawn):
    def head_weight(self, step: Step) -> float:
        return float(step.progress > 0.5)


class Rival(Drawn):
    def build(self, shapes: Shapes) -> None:
        super().build(shapes)
        self.critic = nn.Linear(1, 1)

    def adversary(self) -> nn.Module:
        return self.critic

    def adversary_losses(self, step: Step) -> dict[str, torch.Tensor]:
        return {"critic": self.critic.weight.sum()}

    def adversary_optimizer(self, parameters: list[nn.Parameter]) -> Any:
        return SimpleNamespace(parameters=parameters)


class Broken(Drawn):
    def losses(self, step: Step) -> dict[str, torch.Tensor]:
        raise ValueError("no")


def step() -> Step:
    targets = Targets((), (), None, (4, 4))
    draws = torch.Generator().manual_seed(5)
    return Step({}, {}, targets, torch.zeros(1, 3, 4, 4), 0, 100, generator=draws)


def built(**kinds: type[Method[Any]]) -> Combined:
    torch.manual_seed(3)
    made = Combined(Options(), {name: kind(Options()) for name, kind in kinds.items()})
    made.build(SHAPES)
    return made


def test_every_part_starts_and_draws_as_alone():
    alone, together = built(a=Drawn), built(a=Drawn, b=Weighing)
    expected = alone.losses(step())["a.drawn"]
    assert together.losses(step()) == {"a.drawn": expected, "b.drawn": expected}
    torch.manual_seed(3)
    single = Drawn(Options())
    single.build(SHAPES)
    assert torch.equal(single.losses(step())["drawn"], expected)


def test_captures_are_shared_and_factors_multiply():
    made = built(a=Weighing, b=Drawn, c=Weighing)
    assert made.needs() == ("neck", "logits")
    assert (made.task_weight(step()), made.classification_weight(step()), made.head_weight(step())) == (
        0.25,
        0.0625,
        1.0,
    )


def test_one_adversary_joins_and_two_do_not():
    made = built(a=Drawn, b=Rival)
    assert made.adversary() is made.parts[1].critic
    assert list(made.adversary_losses(step())) == ["critic"]
    assert made.adversary_optimizer([]).parameters == []
    assert built(a=Drawn, b=Weighing).adversary() is None
    with pytest.raises(UserError, match="a and b have an adversary each"):
        built(a=Rival, b=Rival)


def test_a_method_in_stages_is_refused_before_the_first_step():
    with pytest.raises(UserError, match="'b' trains in stages with these options"):
        built(a=Drawn, b=Staged).losses(step())


def test_an_error_names_the_part():
    with pytest.raises(PluginError, match=r"method 'b' failed in losses\(\): ValueError: no"):
        built(a=Drawn, b=Broken).losses(step())


def test_notes_name_the_part():
    assert built(a=Drawn).notes() == ["a, layer: Linear(in_features=2, out_features=2, bias=True)"]
