import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import friedmanchisquare

from kdbench.results.statistics import rank

SCORES = [
    [0.8, 0.7, 0.6, 0.5],
    [0.81, 0.69, 0.75, 0.4],
    [0.9, 0.6, 0.6, 0.5],
    [0.6, 0.7, 0.5, 0.4],
    [0.7, 0.65, 0.64, 0.6],
    [0.8, 0.8, 0.6, 0.7],
]
"""Six rankings of four methods, two of them with a tie."""
NEMENYI = [
    [1.0, 0.7457723543693915, 0.11358109885511569, 0.002969436990049812],
    [0.7457723543693915, 1.0, 0.6078087080927659, 0.06638945003343655],
    [0.11358109885511569, 0.6078087080927659, 1.0, 0.6078087080927658],
    [0.002969436990049812, 0.06638945003343655, 0.6078087080927658, 1.0],
]
"""posthoc_nemenyi_friedman(SCORES) of scikit-posthocs 0.17.1."""


def of(table):
    return rank({str(i): list(column) for i, column in enumerate(zip(*table, strict=True))})


def test_agrees_with_scikit_posthocs():
    got = of(SCORES)
    assert [[got.p(str(i), str(j)) for j in range(4)] for i in range(4)] == [
        pytest.approx(line) for line in NEMENYI
    ]
    assert list(got.average.values()) == pytest.approx([1.25, 2.0, 17.5 / 6, 23 / 6])


@pytest.mark.parametrize(("k", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)])
def test_critical_difference_has_the_constants_of_demsars_table_5(k, q):
    n = 14
    got = of(np.random.default_rng(0).random((n, k)))
    assert got.critical_difference == pytest.approx(q * math.sqrt(k * (k + 1) / (6 * n)), rel=3e-4)


@given(st.lists(st.lists(st.integers(0, 5), min_size=3, max_size=3), min_size=2, max_size=8))
def test_friedman_is_scipys_with_ties(table):
    assume(any(len(set(line)) > 1 for line in table))
    columns = list(zip(*table, strict=True))
    assert of(table).friedman_p == pytest.approx(friedmanchisquare(*columns).pvalue, rel=1e-9, abs=1e-12)


def test_all_alike_is_no_evidence():
    got = of([[0.5, 0.5, 0.5]] * 4)
    assert got.friedman_p == 1
    assert set(got.average.values()) == {2}
    assert got.p("0", "1") == 1


def test_two_methods():
    """Friedman's test of two methods is the sign test's chi-square: 10 of 10 wins give 10."""
    got = of([[0.2, 0.1]] * 10)
    assert got.average == {"0": 1, "1": 2}
    assert got.friedman_p == pytest.approx(math.erfc(math.sqrt(10 / 2)))
