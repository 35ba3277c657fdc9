"""Sums of methods as selectors, cards, options and rows, without training."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdbench.combined import by_method
from kdbench.errors import UserError
from kdbench.plugins import registry
from kdbench.selectors import canonical, method_of, parse, resolve
from kdbench.specs import digest
from kdbench.tuning.space import space_of

TYPED = "structured[variant=pixel+pair,weight=2] + mgd[ratio=.5] + hinton"
PARTS = (
    st.floats(0.5, 20).map(lambda value: f"hinton[temperature={value}]"),
    st.sampled_from(["mgd", "mgd[variant=no-mask]", "mgd[ratio=0.25,weight=3]"]),
    st.sampled_from(["structured", "structured[variant=pixel+local]", "structured[nodes=4]"]),
    st.sampled_from(["fitnets", "fitnets[hint=backbone]"]),
)


def test_a_sum_has_one_name_whatever_the_order():
    card, options = method_of(TYPED)
    assert card.name == "hinton+mgd+structured"
    assert canonical(card, options) == "hinton+mgd[ratio=0.5]+structured[variant=pixel+pair,weight=2]"
    other, same = method_of("hinton+structured[weight=2,variant=pixel+pair]+mgd[ratio=0.5]")
    assert (other, digest(same.recorded())) == (card, digest(options.recorded()))


@settings(max_examples=20, deadline=None)
@given(st.tuples(*PARTS), st.permutations(range(len(PARTS))), st.integers(2, len(PARTS)))
def test_a_sum_can_be_pasted_back(parts, order, count):
    chosen = [parts[place] for place in order[:count]]
    card, options = method_of("+".join(chosen))
    assert card.name == "+".join(sorted(part.partition("[")[0] for part in chosen))
    name, raw = parse(canonical(card, options))
    assert (name, resolve(card, raw)) == (card.name, options)


def test_the_identity_has_the_options_of_each_as_alone():
    card, options = method_of("dist+hinton[temperature=2]")
    alone = {
        text.partition("[")[0]: method_of(text)[1].recorded() for text in ("dist", "hinton[temperature=2]")
    }
    assert by_method(options.recorded()) == alone
    assert card.revision == 1 + sum(registry().method(name).value.revision - 1 for name in alone)
    assert options.settled == {"hinton.teachers"}


def test_tune_searches_the_options_of_each():
    space, left = space_of(method_of("hinton+mgd")[1], frozenset({"mgd.ratio"}))
    assert {"hinton.temperature", "hinton.weight", "mgd.variant"} <= space.keys()
    assert left["mgd.ratio"] == "given by the selector"


def test_where_it_adds_nothing_each_part_adds_nothing():
    assert type(method_of("hinton+structured")[1]).plain == {
        "hinton.weight": 0.0,
        "structured.weight": 0.0,
        "structured.adversarial_weight": 0.0,
    }


def test_the_tasks_are_those_of_all():
    assert method_of("hinton+mimic")[0].tasks == ("detection",)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("mgd+mgd[ratio=0.5]", "'mgd' stands twice"),
        ("none+mgd", "'none' adds nothing to another method: leave it out."),
        ("mgd+", "is not a selector"),
        ("mgd+nothing", "unknown method 'nothing'"),
        ("mgd+hinton[ratio=1]", "hinton has no option 'ratio'."),
        ("mgd+hinton[weight=-1]", "hinton: option 'weight' got '-1'"),
        ("ifvd+mimic", "no task in common: 'ifvd' is for segmentation, 'mimic' is for detection."),
        (
            "hinton[teachers=3]+mgd",
            "different numbers of teachers ('hinton' 3, 'mgd' 1): run them one by one.",
        ),
        ("mgd+quantization-mimic", "'quantization-mimic' trains a teacher of its own"),
    ],
)
def test_what_does_not_go_together_is_told_in_one_line(text, why):
    with pytest.raises(UserError) as caught:
        method_of(text)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)
