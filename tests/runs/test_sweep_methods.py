from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdbench.errors import UserError
from kdbench.runs.asked import methods_of
from kdbench.selectors import parse

NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,6}", fullmatch=True)
PLAIN_VALUES = st.from_regex(r"[A-Za-z0-9_.+-]{1,5}", fullmatch=True)
LISTS = st.lists(PLAIN_VALUES, max_size=3).map(lambda values: f"[{','.join(values)}]")
QUOTED = st.sampled_from(['"a,b"', '"x=1"', '"[,"', r'"a\",b"'])
CHOICES = st.dictionaries(NAMES, st.lists(PLAIN_VALUES | LISTS | QUOTED, min_size=1, max_size=3), max_size=3)
METHODS = st.lists(st.tuples(NAMES, CHOICES), min_size=1, max_size=4)


@given(METHODS, st.sampled_from(["", " "]))
def test_what_is_written_as_lists_is_their_product(methods, blank):
    items = []
    for name, choices in methods:
        parts = [f"{option}={f',{blank}'.join(values)}" for option, values in choices.items()]
        items.append(f"{name}[{f',{blank}'.join(parts)}]" if parts else name)
    expected = [
        (name, dict(zip(choices, values, strict=True)))
        for name, choices in methods
        for values in product(*choices.values())
    ]
    assert [parse(selector) for selector in methods_of(f",{blank}".join(items))] == expected


@given(st.text(alphabet='ab[]=,"{} ', max_size=12))
def test_any_text_gives_selectors_or_one_line(text):
    try:
        selectors, mistake = methods_of(text), ""
    except UserError as error:
        selectors, mistake = [], str(error)
    assert "\n" not in mistake
    assert bool(selectors) != bool(mistake) or not text.strip()
    assert all(parse(selector)[0] for selector in selectors)


def test_a_sum_has_every_choice_of_one_method_with_every_one_of_another():
    assert methods_of("pkd[weight=1,2] + cwd[where=neck,logits],mgd+cwd") == [
        "pkd[weight=1]+cwd[where=neck]",
        "pkd[weight=1]+cwd[where=logits]",
        "pkd[weight=2]+cwd[where=neck]",
        "pkd[weight=2]+cwd[where=logits]",
        "mgd+cwd",
    ]
    assert methods_of("structured[variant=pixel+pair]") == ["structured[variant=pixel+pair]"]


def test_the_example_of_the_readme():
    assert methods_of("none,mimic,fine-grained[variant=I,G]") == [
        "none",
        "mimic",
        "fine-grained[variant=I]",
        "fine-grained[variant=G]",
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("none,,mimic", "'' in 'none,,mimic' is not a method"),
        ("mimic[I]", "'I' in 'mimic[I]' is neither option=value nor one more value"),
        ("mimic[a=1,,2]", "neither option=value"),
        ("mimic[a=1,b=]", "'b='"),
        ("mimic[a=1,a=2]", "option 'a' is given twice"),
        ("mimic[a=1", "unbalanced"),
        ("mimic+", "'' in 'mimic+' is not a method"),
    ],
)
def test_a_mistake_is_told_in_one_line(text, why):
    with pytest.raises(UserError) as caught:
        methods_of(text)
    assert why in str(caught.value)
