"""Statistics over few seeds and few rankings: paired differences, verdicts, and average ranks (Demšar 2006)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from scipy.special import stdtr, stdtrit

Verdict = Literal["better", "worse", "no evidence", "one seed", "no plain student"]
CONFIDENCE = 0.95
ALPHA = 0.05
"""A p value below it is evidence."""
ROUND_OFF = 1e-9
"""Differences up to this are rounding, not evidence."""


@dataclass(frozen=True)
class Difference:
    """Mean paired difference over the shared seeds.

    Attributes:
        n: Shared seeds.
        mean: Mean difference; NaN without a shared seed.
        low: Lower end of the 95 % interval; NaN below two seeds.
        high: Upper end of the 95 % interval; NaN below two seeds.
        p: Two-sided p value of the paired t test; NaN below two seeds.
    """

    n: int
    mean: float
    low: float
    high: float
    p: float = math.nan

    @property
    def verdict(self) -> Verdict:
        """What the interval allows to say of this difference alone: better or worse when it excludes zero."""
        if self.n < 2:
            return "one seed" if self.n else "no plain student"
        if self.low > ROUND_OFF:
            return "better"
        return "worse" if self.high < -ROUND_OFF else "no evidence"

    def verdict_at(self, p: float) -> Verdict:
        """What a p value allows to say of this difference, such as one corrected for its companions."""
        if self.n < 2:
            return self.verdict
        if not p < ALPHA:
            return "no evidence"
        return "better" if self.mean > 0 else "worse"


def mean(values: Iterable[float]) -> float:
    """Mean, rounded once and so independent of the order; NaN of nothing."""
    numbers = list(values)
    return math.fsum(numbers) / len(numbers) if numbers else math.nan


def deviation(values: Iterable[float]) -> float:
    """Standard deviation with n - 1 degrees of freedom, independent of the order; NaN below two values."""
    numbers = list(values)
    if len(numbers) < 2:
        return math.nan
    if min(numbers) == max(numbers):
        return 0.0
    center = mean(numbers)
    return math.sqrt(math.fsum((number - center) ** 2 for number in numbers) / (len(numbers) - 1))


def difference(values: Mapping[int, float], baseline: Mapping[int, float]) -> Difference:
    """Paired difference ``values - baseline`` (seed -> score) with its 95 % t interval.

    Seeds that only one side has do not count.
    """
    differences = [values[seed] - baseline[seed] for seed in values.keys() & baseline.keys()]
    n, center, spread = len(differences), mean(differences), deviation(differences)
    half = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * spread / math.sqrt(n) if n > 1 else math.nan
    return Difference(n, center, center - half, center + half, paired_p(differences))


def paired_p(differences: Sequence[float]) -> float:
    """Two-sided p value of Student's paired t test of differences against 0.

    Returns:
        In [0, 1]; NaN below two differences. Without any spread 1 where they are 0 and 0 where they are not.
    """
    n = len(differences)
    if n < 2:
        return math.nan
    center, spread = mean(differences), deviation(differences)
    if abs(center) <= ROUND_OFF:
        return 1.0
    if spread <= ROUND_OFF:
        return 0.0
    return float(2 * stdtr(n - 1, -abs(center) * math.sqrt(n) / spread))


def holm(values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment of p values (Holm 1979): keeps the chance of any false finding below alpha.

    Args:
        values: p values in [0, 1]; NaN where nothing was tested, which does not count as a test.

    Returns:
        The adjusted p values in the same order, at most 1; NaN stays NaN.
    """
    tested = sorted((p, place) for place, p in enumerate(values) if not math.isnan(p))
    adjusted, least = [math.nan] * len(values), 0.0
    for index, (p, place) in enumerate(tested):
        least = max(least, min(1.0, (len(tested) - index) * p))
        adjusted[place] = least
    return adjusted


def gap_closed(gain: float, plain: float, teacher: float) -> float:
    """Share of the way from the plain student to the teacher that a gain covers.

    Returns:
        1.0 where the student reaches the teacher; NaN where the teacher is not above the plain student.
    """
    gap = teacher - plain
    return gain / gap if gap > ROUND_OFF else math.nan


def ratio(values: Mapping[int, float], baseline: Mapping[int, float]) -> float:
    """Geometric mean of the paired ratios ``values / baseline``; NaN without a shared seed."""
    shared = values.keys() & baseline.keys()
    logs = [math.log(values[s] / baseline[s]) for s in shared if values[s] > 0 and baseline[s] > 0]
    return math.exp(mean(logs)) if logs else math.nan


def rank_correlation(values: Sequence[float], others: Sequence[float]) -> tuple[float, float]:
    """Kendall's tau-b of two scores of the same items, and its two-sided p value.

    Returns:
        tau in [-1, 1] and p in [0, 1]; both NaN where one of the two has no order (all equal, or one item).
    """
    from scipy.stats import kendalltau  # slow to import, and leaderboards do without

    found = kendalltau(values, others)
    return float(found.statistic), float(found.pvalue)


@dataclass(frozen=True)
class Ranks:
    """Methods over the same rankings.

    Attributes:
        rankings: How many.
        average: Method -> average rank; 1 is best, equals share the mean of their ranks.
        friedman_p: p value of Friedman's test, corrected for ties, that all methods are alike; in [0, 1].
        critical_difference: Average ranks that are this far apart differ (Nemenyi, 5 % for any false one).
    """

    rankings: int
    average: Mapping[str, float]
    friedman_p: float
    critical_difference: float

    def p(self, first: str, second: str) -> float:
        """Nemenyi's p value that two methods are alike, in [0, 1]."""
        from scipy.stats import studentized_range

        apart = abs(self.average[first] - self.average[second]) / self._error * math.sqrt(2)
        return float(studentized_range.sf(apart, len(self.average), math.inf))

    @property
    def _error(self) -> float:
        return standard_error(len(self.average), self.rankings)


def ranks(scores: Mapping[str, Sequence[float]]) -> Ranks:
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
    critical = float(studentized_range.ppf(1 - ALPHA, k, math.inf)) / math.sqrt(2) * standard_error(k, n)
    return Ranks(n, dict(zip(scores, table.mean(axis=1).tolist(), strict=True)), p, critical)


def standard_error(methods: int, rankings: int) -> float:
    """Standard error of a difference of average ranks where all methods are alike."""
    return math.sqrt(methods * (methods + 1) / (6 * rankings))
