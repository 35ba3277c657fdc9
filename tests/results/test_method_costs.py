"""What an iteration of a method costs beside the plain student's."""

import pytest

from kdbench.results.method_costs import cost_range, method_costs

from .samples import cell, cells


def test_a_cost_for_each_pair_at_the_default_options():
    seeds = {0: 0.5, 1: 0.6}
    records = [
        *cells("none", seeds),
        *cells("theirs", seeds, seconds=0.2),
        *cells("theirs[weight=2]", seeds, seconds=0.9),
        *cells("theirs", {2: 0.5}, seconds=0.9),  # no plain student took turns with it
        *cells("none", {0: 0.5}, pair="large"),
        *cells("theirs", {0: 0.5}, pair="large", seconds=0.13),
        cell("theirs", pair="short", schedule="smoke", seconds=0.9),
    ]
    found = method_costs(records)
    assert found == {"theirs": {"large": pytest.approx(1.3), "tiny": pytest.approx(2.0)}}
    assert cost_range(found["theirs"]) == "1.30x to 2.00x"


def test_a_range_of_one_or_none():
    assert cost_range({"a": 1.004, "b": 0.998}) == "1.00x"
    assert cost_range({}) == ""
