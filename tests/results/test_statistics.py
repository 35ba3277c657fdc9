import math
from statistics import stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdbench.results.statistics import deviation, gains, gap_closed, mean, ratio


def test_gains_are_of_the_shared_seeds():
    assert gains({2: 0.7, 0: 0.5, 7: 0.1}, {0: 0.4, 2: 0.5}) == pytest.approx([0.1, 0.2])
    assert gains({0: 0.9}, {1: 0.1}) == []


@given(st.permutations([0.1, 0.2, 0.3, 0.7, 1e-9, 0.33]))
def test_order_does_not_matter(values):
    assert (mean(values), deviation(values)) == (mean(sorted(values)), deviation(sorted(values)))


def test_gap_closed():
    assert gap_closed(0.05, 0.4, 0.6) == pytest.approx(0.25)
    assert gap_closed(-0.05, 0.4, 0.6) == pytest.approx(-0.25)
    for teacher in (0.4, 0.3, math.nan):
        assert math.isnan(gap_closed(0.05, 0.4, teacher))


def test_ratio_is_symmetric():
    ours, plain = {0: 2.0, 1: 1.0, 5: 9.0}, {0: 1.0, 1: 2.0}
    assert ratio(ours, plain) == pytest.approx(1.0)
    assert ratio({0: 3.0}, {0: 2.0}) == pytest.approx(1.5)
    assert math.isnan(ratio({0: 1.0}, {1: 1.0}))
    assert math.isnan(ratio({0: 0.0}, {0: 1.0}))


@given(st.lists(st.floats(0, 1), min_size=2, max_size=9))
def test_deviation_is_the_exact_one_to_rounding(values):
    assert deviation(values) == pytest.approx(stdev(values), rel=1e-9, abs=1e-12)
