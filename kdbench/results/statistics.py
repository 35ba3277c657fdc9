"""Statistics over few seeds: means, paired differences with t intervals, verdicts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal

from scipy.special import stdtrit

Verdict = Literal["better", "worse", "no evidence", "one seed", "no plain student"]
CONFIDENCE = 0.95
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
    """

    n: int
    mean: float
    low: float
    high: float

    @property
    def verdict(self) -> Verdict:
        """What the interval allows to say: better or worse only when it excludes zero."""
        if self.n < 2:
            return "one seed" if self.n else "no plain student"
        if self.low > ROUND_OFF:
            return "better"
        return "worse" if self.high < -ROUND_OFF else "no evidence"


def mean(values: Iterable[float]) -> float:
    """Mean, rounded once and so independent of the order; NaN of nothing."""
    numbers = list(values)
    return fmean(numbers) if numbers else math.nan


def deviation(values: Iterable[float]) -> float:
    """Standard deviation with n - 1 degrees of freedom; NaN below two values."""
    numbers = list(values)
    return stdev(numbers) if len(numbers) > 1 else math.nan


def difference(values: Mapping[int, float], baseline: Mapping[int, float]) -> Difference:
    """Paired difference ``values - baseline`` (seed -> score) with its 95 % t interval.

    Seeds that only one side has do not count.
    """
    differences = [values[seed] - baseline[seed] for seed in values.keys() & baseline.keys()]
    n, center, spread = len(differences), mean(differences), deviation(differences)
    half = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * spread / math.sqrt(n) if n > 1 else math.nan
    return Difference(n, center, center - half, center + half)


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
