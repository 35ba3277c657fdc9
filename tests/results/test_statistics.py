import math
from statistics import stdev

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from kdbench.results.statistics import (
    deviation,
    difference,
    gap_closed,
    holm,
    mean,
    paired_p,
    ratio,
)

scores = st.lists(st.floats(0, 1), min_size=2, max_size=8)


@given(scores, scores)
def test_interval_is_that_of_scipys_paired_t_test(ours, plain):
    n = min(len(ours), len(plain))
    values, baseline = dict(enumerate(ours[:n])), dict(enumerate(plain[:n]))
    assume(deviation(values[s] - baseline[s] for s in values) > 1e-6)
    got = difference(values, baseline)
    expected = ttest_rel(ours[:n], plain[:n]).confidence_interval(0.95)
    assert got.n == n
    assert (got.low, got.high) == pytest.approx((expected.low, expected.high), rel=1e-6, abs=1e-9)


def test_by_hand():
    got = difference({0: 0.5, 1: 0.6, 2: 0.7}, {0: 0.4, 1: 0.4, 2: 0.4})
    half = 4.302652729911275 * 0.1 / math.sqrt(3)
    assert (got.mean, got.low, got.high) == pytest.approx((0.2, 0.2 - half, 0.2 + half))
    assert got.verdict == "no evidence"


@pytest.mark.parametrize(
    ("values", "baseline", "verdict"),
    [
        ({0: 0.50, 1: 0.61, 2: 0.70}, {0: 0.40, 1: 0.50, 2: 0.60}, "better"),
        ({0: 0.40, 1: 0.50, 2: 0.60}, {0: 0.50, 1: 0.61, 2: 0.70}, "worse"),
        ({0: 0.9, 1: 0.1}, {0: 0.4, 1: 0.4}, "no evidence"),
        ({0: 0.9}, {0: 0.1}, "one seed"),
        ({0: 0.9, 1: 0.9}, {1: 0.1, 2: 0.1}, "one seed"),
        ({0: 0.9}, {1: 0.1}, "no plain student"),
        ({0: 0.5, 1: 0.5}, {0: 0.5, 1: 0.5}, "no evidence"),
        ({0: 0.5, 1: 0.5}, {0: 0.25, 1: 0.25}, "better"),
        ({0: 0.1 + 0.2, 1: 0.1 + 0.2}, {0: 0.3, 1: 0.3}, "no evidence"),
    ],
)
def test_verdicts(values, baseline, verdict):
    assert difference(values, baseline).verdict == verdict


def test_no_interval_below_two_seeds():
    got = difference({0: 0.5, 7: 0.1}, {0: 0.4})
    assert (got.n, got.mean) == (1, pytest.approx(0.1))
    assert math.isnan(got.low)
    assert math.isnan(got.high)
    assert math.isnan(difference({}, {}).mean)


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


@given(scores, scores)
def test_p_is_that_of_scipys_paired_t_test(ours, plain):
    n = min(len(ours), len(plain))
    differences = [a - b for a, b in zip(ours[:n], plain[:n], strict=True)]
    assume(deviation(differences) > 1e-6 and abs(mean(differences)) > 1e-6)
    assert paired_p(differences) == pytest.approx(ttest_rel(ours[:n], plain[:n]).pvalue, rel=1e-6)


@pytest.mark.parametrize(
    ("differences", "p"), [([], math.nan), ([0.1], math.nan), ([0.0, 0.0], 1), ([0.1, 0.1, 0.1], 0)]
)
def test_p_without_seeds_or_spread(differences, p):
    assert paired_p(differences) == pytest.approx(p, nan_ok=True)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.02, 0.02], [0.04, 0.04]),
        ([0.01, math.nan, 0.02], [0.02, math.nan, 0.02]),
        ([0.9, 0.8], [1, 1]),
        ([math.nan], [math.nan]),
        ([], []),
    ],
)
def test_holm_by_hand(values, expected):
    """The first is the worked example of statsmodels' multipletests(method="holm")."""
    assert holm(values) == pytest.approx(expected, nan_ok=True)


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_rejects_what_the_step_down_procedure_rejects(values):
    """Holm (1979): from the smallest on, reject while p < alpha / (number left)."""
    rejected: set[int] = set()
    for index, place in enumerate(sorted(range(len(values)), key=lambda i: values[i])):
        if not values[place] * (len(values) - index) < 0.05:
            break
        rejected.add(place)
    assert {i for i, p in enumerate(holm(values)) if p < 0.05} == rejected


@given(st.lists(st.floats(0, 1), min_size=2, max_size=9))
def test_deviation_is_the_exact_one_to_rounding(values):
    assert deviation(values) == pytest.approx(stdev(values), rel=1e-9, abs=1e-12)


def test_verdict_at_a_corrected_p():
    gain = difference({0: 0.50, 1: 0.61, 2: 0.70}, {0: 0.40, 1: 0.50, 2: 0.60})
    assert (gain.verdict_at(0.049), gain.verdict_at(0.05)) == ("better", "no evidence")
    assert difference({0: 0.1, 1: 0.11}, {0: 0.5, 1: 0.5}).verdict_at(0.01) == "worse"
    assert difference({0: 0.1}, {0: 0.5}).verdict_at(math.nan) == "one seed"
