"""Means and deviations over seeds, and average ranks over rankings (Demšar 2006)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

ALPHA = 0.05
"""A p value below it is evidence."""
ROUND_OFF = 1e-9
"""Differences up to this are rounding, not evidence."""


def mean(values: Iterable[float]) -> float:
    """Return the mean, rounded once and so independent of the order; NaN without values."""
    numbers = list(values)
    return math.fsum(numbers) / len(numbers) if numbers else math.nan


def deviation(values: Iterable[float]) -> float:
    """Return the standard deviation (n - 1 degrees of freedom), independent of the order; NaN below two values."""
    numbers = list(values)
    if len(numbers) < 2:
        return math.nan
    if min(numbers) == max(numbers):
        return 0.0
    center = mean(numbers)
    return math.sqrt(math.fsum((number - center) ** 2 for number in numbers) / (len(numbers) - 1))


def gains(values: Mapping[int, float], baseline: Mapping[int, float]) -> list[float]:
    """Return the paired differences ``values - baseline`` (seed -> score) of the seeds that both have, by seed."""
    return [values[seed] - baseline[seed] for seed in sorted(values.keys() & baseline.keys())]


def gap_closed(gain: float, plain: float, teacher: float) -> float:
    """Return the share of the way from the plain student to the teacher that a gain covers.

    Returns:
        1.0 if the student reaches the teacher; NaN if the teacher is not above the plain student.
    """
    gap = teacher - plain
    return gain / gap if gap > ROUND_OFF else math.nan


def ratio(values: Mapping[int, float], baseline: Mapping[int, float]) -> float:
    """Return the geometric mean of the paired ratios ``values / baseline``; NaN without a shared seed."""
    shared = values.keys() & baseline.keys()
    logs = [math.log(values[s] / baseline[s]) for s in shared if values[s] > 0 and baseline[s] > 0]
    return math.exp(mean(logs)) if logs else math.nan


def rank_correlation(values: Sequence[float], others: Sequence[float]) -> tuple[float, float]:
    """Return Kendall's tau-b of two scores of the same items, and its two-sided p value.

    Returns:
        tau in [-1, 1] and p in [0, 1]; both NaN if one of the two has no order (all equal, or one item).
    """
    from scipy.stats import kendalltau  # slow to import, and leaderboards do not need it

    found = kendalltau(values, others)
    return float(found.statistic), float(found.pvalue)


@dataclass(frozen=True)
class Ranks:
    """Methods over the same rankings.

    Attributes:
        rankings: Number of rankings.
        average: Method -> average rank; 1 is best, equals share the mean of their ranks.
        friedman_p: p value of Friedman's test, corrected for ties, that all methods are alike; in [0, 1].
        critical_difference: Average ranks that are further apart differ (Nemenyi; 5 % chance of any false one).
    """

    rankings: int
    average: Mapping[str, float]
    friedman_p: float
    critical_difference: float

    def p(self, first: str, second: str) -> float:
        """Return Nemenyi's p value that two methods are alike, in [0, 1]."""
        from scipy.stats import studentized_range

        k = len(self.average)
        apart = abs(self.average[first] - self.average[second]) / _standard_error(k, self.rankings)
        return float(studentized_range.sf(apart * math.sqrt(2), k, math.inf))


def rank(scores: Mapping[str, Sequence[float]]) -> Ranks:
    """Rank methods in each ranking, the highest score first.

    Args:
        scores: Method -> its score in each ranking, at least two methods, the same rankings in the same order.
    """
    import numpy as np
    from scipy.stats import chi2, rankdata, studentized_range

    table = rankdata(-np.array(list(scores.values())), axis=0)
    k, n = table.shape
    sizes = [np.unique(column, return_counts=True)[1] for column in table.T]
    untied = 1 - sum(float((size**3 - size).sum()) for size in sizes) / (n * k * (k * k - 1))
    spread = 12 / (n * k * (k + 1)) * float((table.sum(axis=1) ** 2).sum()) - 3 * n * (k + 1)
    p = float(chi2.sf(spread / untied, k - 1)) if untied > 0 else 1.0
    critical = float(studentized_range.ppf(1 - ALPHA, k, math.inf)) / math.sqrt(2) * _standard_error(k, n)
    return Ranks(n, dict(zip(scores, table.mean(axis=1).tolist(), strict=True)), p, critical)


def _standard_error(methods: int, rankings: int) -> float:
    """Return the standard error of a difference of average ranks if all methods are alike."""
    return math.sqrt(methods * (methods + 1) / (6 * rankings))
