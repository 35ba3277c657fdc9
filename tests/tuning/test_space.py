"""The search spaces of studies, which follow from the cards."""

from __future__ import annotations

import math
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

import kdbench_papers
from kdbench.cards import Options
from kdbench.tuning.sampler import propose
from kdbench.tuning.space import Choice, Range, space_of, tried
from kdbench.tuning.study import Trial

CARDS = [
    card for card in kdbench_papers.kdbench_methods() if card.name != "none" and card.options.model_fields
]


class Many(Options):
    """Options of every kind."""

    variant: Literal["a", "b"] = "a"
    weight: float = Field(default=2.0, ge=0)
    share: float = Field(default=0.5, gt=0, lt=1)
    capped: float = Field(default=0.5, gt=0, le=1)
    count: int = Field(default=7, ge=1, le=32)
    least: int = Field(default=3, ge=1)
    offset: float = Field(default=0.0, ge=-1, le=1)
    margin: float = Field(default=0.0, ge=0)
    relu: bool = True
    kind: Literal["x", "y", "z"] = "x"
    held: int | None = Field(default=None, ge=0)
    level: float | None = Field(default=0.1, ge=0)
    stages: tuple[int, ...] = (1, 2)

    @property
    def settled(self) -> frozenset[str]:
        return frozenset({"count"} if self.kind == "y" else ())


def searched(**changes):
    return space_of(Many(**changes), frozenset())[0]


def test_positive_numbers_are_searched_around_their_value_within_their_bounds():
    space = searched()
    assert space["weight"] == Range(kind="float", low=0.2, high=20.0, log=True)
    assert space["capped"] == Range(kind="float", low=0.05, high=1.0, log=True)
    assert space["share"] == Range(kind="float", low=0.05, high=math.nextafter(1, 0), log=True)
    assert space["count"] == Range(kind="int", low=1, high=32, log=True)
    assert space["least"] == Range(kind="int", low=1, high=30, log=True)
    assert space["level"] == Range(kind="float", low=0.01, high=1.0, log=True)
    assert searched(weight=5)["weight"] == Range(kind="float", low=0.5, high=50.0, log=True)


def test_other_numbers_need_both_bounds():
    space, left = space_of(Many(), frozenset())
    assert space["offset"] == Range(kind="float", low=-1, high=1, log=False)
    assert "margin" not in space
    assert "no scale" in left["margin"]
    assert "no scale" in left["held"]
    assert space_of(Many(weight=0), frozenset())[1]["weight"] == left["margin"]


def test_choices_are_all_that_can_be_used():
    assert searched()["relu"] == Choice(values=(False, True))
    assert searched()["kind"] == Choice(values=("x", "y", "z"))
    space, left = space_of(Many(), frozenset(), lambda options: options.kind != "y" and options.relu)
    assert space["kind"] == Choice(values=("x", "z"))
    assert "only one value" in left["relu"]


def test_what_is_never_searched():
    space, left = space_of(Many(kind="y"), frozenset({"weight", "kind"}))
    assert {"variant", "weight", "kind"}.isdisjoint(space)
    assert left["variant"] == left["weight"] == "given by the selector"
    assert left["count"] == "left alone by the method's card"
    assert "neither" in left["stages"]
    assert set(space) | set(left) == set(Many.model_fields)


def test_what_has_no_effect_stays_as_it_was():
    assert tried(Many(count=5), {"kind": "x", "count": 9}) == Many(kind="x", count=9)
    assert tried(Many(count=5), {"kind": "y", "count": 9}) == Many(kind="y", count=5)
    with pytest.raises(ValidationError):
        tried(Many(), {"weight": -1})


@given(st.floats(1e-6, 1e6), st.floats(0, 1))
def test_a_rounded_value_stays_in_its_range(middle, position):
    dimension = Range(kind="float", low=middle / 10, high=math.nextafter(middle, 0), log=True)
    value = min(
        max(dimension.low + position * (dimension.high - dimension.low), dimension.low), dimension.high
    )
    rounded = dimension.rounded(value)
    assert dimension.low <= rounded <= dimension.high
    assert rounded == pytest.approx(value, rel=6e-3)


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_every_variant_of_every_method_has_a_space_of_valid_options(card):
    for variant in card.variants or [None]:
        options = card.options.model_validate({"variant": variant} if variant else {})
        assert options.settled <= set(card.options.model_fields)
        space, _ = space_of(options, frozenset())
        assert space, f"{card.name} {variant}"
        trials = []
        for number in range(4):
            chosen = propose(space, trials, seed=0)
            assert set(chosen) == set(space)
            assert isinstance(tried(options, chosen), card.options)
            trials.append(ended(number, chosen, 0.1 * number))


def ended(number, chosen, value):
    status = "failed" if value is None else "done"
    return Trial(number=number, chosen=chosen, selector="x", options={}, run="0", status=status, value=value)


def study_of(count, seed=0, score=lambda chosen: 1 - abs(math.log10(chosen["weight"] / 0.3))):
    """Return trials of a fake metric, which is best at weight 0.3."""
    trials = []
    for number in range(count):
        chosen = propose({"weight": Range(kind="float", low=0.1, high=10, log=True)}, trials, seed)
        trials.append(ended(number, chosen, score(chosen)))
    return trials


def test_the_sampler_is_seeded():
    assert study_of(12) == study_of(12)
    assert study_of(12) != study_of(12, seed=1)
    assert study_of(16)[:12] == study_of(12), "a longer study begins with the trials of a shorter one"


def test_the_sampler_learns_also_from_failures():
    def weights(trials):
        return sorted(trial.chosen["weight"] for trial in trials[10:])

    trials = study_of(30)
    assert 0.15 < weights(trials)[10] < 0.6, "the median of the trials after the random ones"
    failing = study_of(30, score=lambda chosen: None if chosen["weight"] < 2 else 0.5)
    assert any(trial.status == "failed" for trial in failing)
    assert weights(failing)[10] > 2
