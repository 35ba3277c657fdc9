"""The fast way to read a record gives what the plain way gives, also for files that somebody made up."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from kdbench.results.reading import read
from kdbench.results.record import Record
from kdbench.specs import digest, unlabelled

from .samples import cell, teacher

TEXT = cell("mimic[weight=2]", described={"task": "detection", "student": {"edits": {"x": [1, 2]}}}).to_json()


def both(text):
    """What the two ways give: a record, or the reasons against it."""
    found = []
    for way in (read, Record.model_validate_json):
        try:
            found.append(way(text))
        except ValidationError as error:
            found.append(error.errors(include_url=False, include_context=False, include_input=False))
    return found


def test_it_is_the_record_and_its_text_comes_back():
    record = read(TEXT.encode())
    assert record == Record.model_validate_json(TEXT)
    assert record.to_json() == TEXT
    plain = Record.model_validate_json(TEXT)
    assert (record.recipe, record.options_text) == (plain.recipe, '{"weight":"2"}')


def test_cells_of_one_pair_share_it_and_only_they():
    one, two, other = (
        read(cell(seed=seed, pair=pair).to_json().encode()) for seed, pair in ((0, "a"), (1, "a"), (0, "b"))
    )
    assert one.spec["pair"] is two.spec["pair"]
    assert other.spec["pair"]["name"] == "b"


def test_a_teacher_has_no_pair():
    assert read(teacher().to_json().encode()) == teacher()


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_any_edit_of_a_file_is_seen_as_the_plain_way_sees_it(data):
    text = TEXT.encode()
    begin = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(begin, min(len(text), begin + 40)))
    put = data.draw(
        st.sampled_from(
            [b"", b"0", b"}", b"{", b'"', b"\n  },\n", b'\n  "pair": {\n', b"NaN", b"\xff", b",", b" "]
        )
    )
    first, second = both(text[:begin] + put + text[end:])
    assert first == second


def test_a_pair_in_another_place_is_not_taken_for_the_specs():
    values = json.loads(TEXT)
    pair, values["spec"]["pair"] = values["spec"]["pair"], {"name": "other"}
    values["spec"]["options"] = {"pair": pair, "z": 1}
    values["identity"] = digest(unlabelled(values["spec"]))
    text = json.dumps(values, sort_keys=True)
    lines = '\n  "pair": {\n' + json.dumps(pair)[1:-1] + "\n  },\n"
    planted = text.replace(f'"pair": {json.dumps(pair, sort_keys=True)},', lines)
    assert planted != text
    first, second = both(planted.encode())
    assert first == second
    assert first.pair_name == "other"
    assert first.options["pair"] == pair


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999"])
def test_a_number_that_is_not_finite_is_refused(value):
    first, second = both(TEXT.replace('"lr": 0.01', f'"lr": {value}').encode())
    assert first == second
    assert isinstance(first, list)
