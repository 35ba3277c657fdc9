"""What the guide makes of docstrings."""

import importlib.util

import pytest

from .pages import ROOT

TABLE = """Captures.

======  ===================
name    value
======  ===================
neck    the maps that the
        heads read
a, b    a ``x`` of :mod:`y`
======  ===================

The end.
"""


@pytest.fixture(scope="module")
def markdown():
    spec = importlib.util.spec_from_file_location("rst", ROOT / "docs" / "rst.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.markdown


def test_a_table(markdown):
    lines = [line for line in markdown(TABLE).splitlines() if line]
    assert lines == [
        "Captures.",
        "| name | value |",
        "| --- | --- |",
        "| `neck` | the maps that the heads read |",
        "| `a`, `b` | a `x` of `y` |",
        "The end.",
    ]


def test_a_table_without_a_head(markdown):
    lines = markdown("==  ==\na   b\n==  ==").splitlines()
    assert [line for line in lines if line] == ["| name | what it is |", "| --- | --- |", "| `a` | b |"]


def test_roles_and_titles(markdown):
    text = markdown("Title\n=====\nSee :meth:`~a.B.c` and ``d``, as in::\n\n    x == 1")
    assert text == "**Title**\nSee `a.B.c` and `d`, as in:\n\n    x == 1"
