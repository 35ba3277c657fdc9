"""Statistics over few seeds: means, paired differences with intervals and p values, verdicts."""

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
RESAMPLES = 10_000
MOST_ENUMERATED = 5
"""Differences up to which a bootstrap takes every resample (5^5) instead of drawing some."""


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


def bootstrap_interval(differences: Iterable[float]) -> tuple[float, float]:
    """Percentile bootstrap 95 % interval of the mean (Efron and Tibshirani 1993, section 13.3).

    Up to 5 differences all resamples are taken, else 10,000 drawn with a fixed seed, so the same differences always
    have the same interval. With few seeds it is narrower than it should be: the t interval is not.

    Returns:
        Its ends; NaN below two differences.
    """
    import numpy as np

    values = np.array(sorted(differences))
    n = len(values)
    if n < 2:
        return math.nan, math.nan
    every = n <= MOST_ENUMERATED
    drawn = np.random.default_rng(0).integers(0, n, (0 if every else RESAMPLES, n))
    picks = np.indices((n,) * n).reshape(n, -1).T if every else drawn
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values[picks].mean(axis=1), [tail, 1 - tail])
    return float(low), float(high)


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
