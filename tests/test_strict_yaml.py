"""YAML that users write: what a number is, and what is refused in one line."""

from __future__ import annotations

import re

import pytest

from kdbench.strict_yaml import read


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("-5", -5),
        ("12_000", 12000),
        ("010", "010"),
        ("1:30", "1:30"),
        ("0x10", "0x10"),
        (".5", 0.5),
        ("true", True),
        ("[1, a]", [1, "a"]),
    ],
)
def test_numbers_are_decimal(text, value):
    assert read(text) == value
    assert type(read(text)) is type(value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 1\nb: 2\na: 3", "key 'a' is given twice"),
        ("2020-99-99", "month must be in 1..12"),
        ("9" * 5000, "5000 digits"),
        ("[" * 2000, "maximum recursion depth"),
        ("!!python/object/apply:os.system [id]", "could not determine a constructor"),
    ],
)
def test_what_is_none_is_told_in_one_line(text, told):
    with pytest.raises(ValueError, match=re.escape(told)) as refused:
        read(text)
    assert "\n" not in str(refused.value)
