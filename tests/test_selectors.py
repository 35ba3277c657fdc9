from __future__ import annotations

from contextlib import suppress
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, model_validator

from kdbench.cards import MethodCard, Options
from kdbench.errors import UserError
from kdbench.selectors import canonical, parse, resolve


class Everything(Options):
    weight: float = Field(default=1.0, ge=0)
    steps: int = Field(default=10, gt=0, le=100)
    pooling: Literal["crop", "off", "whole"] = "crop"
    normalise: bool = False
    label: str = ""
    limit: float | None = 0.5
    note: str | None = "x"
    stages: tuple[int, ...] = (2, 3)
    names: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _together(self) -> Everything:
        if self.label == "forbidden" and self.normalise:
            raise ValueError("label 'forbidden' needs normalise=false")
        return self


CARD = MethodCard(
    name="mimic",
    title="",
    authors="",
    year=2017,
    link="",
    bibtex="",
    tasks=("detection",),
    equations="",
    method="nowhere:Nothing",
    options=Everything,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mimic", ("mimic", {})),
        ("mimic[]", ("mimic", {})),
        (" mimic [ pooling = crop , weight=2 ] ", ("mimic", {"pooling": "crop", "weight": "2"})),
        ("fine-grained[variant=I]", ("fine-grained", {"variant": "I"})),
        ("mimic[stages=[2,3],weight=1]", ("mimic", {"stages": "[2,3]", "weight": "1"})),
        ('mimic[label="a,b]=\\"c"]', ("mimic", {"label": '"a,b]=\\"c"'})),
        ("mimic[label=a=b]", ("mimic", {"label": "a=b"})),
    ],
)
def test_parse(text, expected):
    assert parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "[weight=1]",
        "mimic[",
        "mimic]",
        "mimic[weight=1",
        "mimic[weight=1]]",
        "mimic[stages=[1]",
        "mimic[stages=]1[]",
        "mimic[weight]",
        "mimic[weight=]",
        "mimic[=1]",
        "mimic[weight=1,]",
        "mimic[,weight=1]",
        "mimic[variant=I,G]",
        "mimic[weight=1,weight=2]",
        'mimic[label="a]',
        "mimic[weight=1]x",
        "none,mimic",
        "two words",
    ],
)
def test_parse_refuses(text):
    with pytest.raises(UserError) as caught:
        parse(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("weight=2", "weight", 2.0),
        ("weight=1e-3", "weight", 0.001),
        ("weight=.5", "weight", 0.5),
        ("steps=007", "steps", 7),
        ("normalise=yes", "normalise", True),
        ("normalise=False", "normalise", False),
        ("pooling=off", "pooling", "off"),
        ("label=true", "label", "true"),
        ("label=12", "label", "12"),
        ("limit=null", "limit", None),
        ("note=null", "note", None),
        ('note="null"', "note", "null"),
        ("stages=[1]", "stages", (1,)),
        ("stages=[]", "stages", ()),
        ("stages=[010, 2]", "stages", (10, 2)),
        ("names=[a, b]", "names", ("a", "b")),
    ],
)
def test_resolve(text, field, value):
    options = resolve(CARD, parse(f"mimic[{text}]")[1])
    assert getattr(options, field) == value
    assert type(getattr(options, field)) is type(value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("polling=crop", "no option 'polling'. Did you mean 'pooling'?"),
        ("weight=heavy", "option 'weight' got 'heavy'"),
        ("weight=true", "option 'weight' got 'true'"),
        ("weight=-1", "greater than or equal to 0"),
        ("weight=NaN", "finite number"),
        ("weight=1e999", "finite number"),
        ("steps=2.5", "option 'steps' got '2.5'"),
        ("steps=101", "less than or equal to 100"),
        ("pooling=corp", "'crop', 'off' or 'whole'"),
        ("stages=[1,x]", "option 'stages' got '[1,x]'"),
        ("stages=[1,x:]", "option 'stages'"),
        ("label=forbidden,normalise=true", "mimic: label 'forbidden' needs normalise=false."),
        ("weight=-1,steps=0", "; option 'steps' got '0'"),
    ],
)
def test_resolve_refuses_in_one_line(text, told):
    with pytest.raises(UserError) as caught:
        resolve(CARD, parse(f"mimic[{text}]")[1])
    assert told in str(caught.value)
    assert str(caught.value).startswith("mimic")
    assert "\n" not in str(caught.value)


def test_a_method_without_options_says_so():
    card = MethodCard("none", "", "", 0, "", "", ("detection",), "", "x:Y")
    with pytest.raises(UserError, match=r"none has no option 'weight'\. Known: none\."):
        resolve(card, {"weight": "1"})


def test_canonical_names_what_differs_sorted():
    assert canonical(CARD, Everything()) == "mimic"
    assert canonical(CARD, Everything(weight=1, stages=(2, 3))) == "mimic"
    options = Everything(weight=2, pooling="off", label="a b", limit=None)
    assert canonical(CARD, options) == 'mimic[label="a b",limit=null,pooling=off,weight=2]'


everything = st.builds(
    Everything,
    weight=st.floats(min_value=0, allow_nan=False, allow_infinity=False),
    steps=st.integers(1, 100),
    pooling=st.sampled_from(["crop", "off", "whole"]),
    normalise=st.booleans(),
    label=st.text().filter(lambda text: text != "forbidden"),
    limit=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    note=st.none() | st.text() | st.sampled_from(["null", "true", "1", '"', "[", "a,b=c"]),
    stages=st.lists(st.integers()).map(tuple),
    names=st.lists(st.text()).map(tuple),
)


@given(everything)
def test_canonical_can_be_pasted_back(options):
    name, raw = parse(canonical(CARD, options))
    assert name == "mimic"
    assert resolve(CARD, raw) == options


@given(st.text(alphabet='ab=,[]{}"\\ 1'))
def test_no_text_breaks_the_parser(text):
    with suppress(UserError):
        options = resolve(CARD, parse(f"mimic[{text}]")[1])
        assert resolve(CARD, parse(canonical(CARD, options))[1]) == options
