"""Ranks of methods over several rankings, and whether they differ: Demšar (JMLR 2006)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kdbench.results.statistics import ALPHA


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
