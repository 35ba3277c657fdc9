"""The two-way model of a ranking, method x seed with a pooled residual, and Dunnett's intervals from it.

A score is the sum of its method's mean, the effect of its seed and noise: methods of a seed share their
initialisation and the order of their data. The noise of all rows is pooled, which gives many degrees of freedom
from few seeds. The differences to the plain student have simultaneous intervals (Dunnett, JASA 1955). A row that
scatters more than the others has an interval from its own paired differences, and leaves the pool if it is extreme.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc, gammaln, ndtr, roots_hermitenorm, stdtr, stdtrit

from kdbench.results.statistics import ALPHA, ROUND_OFF
from kdbench.specs import PLAIN

Scores = Mapping[Any, float]
"""Seed (or another block that rows share) -> score."""
UNEQUAL = 0.01
"""p value of the F test below which a row scatters more than the others and has its own interval."""
EXTREME = 1e-6
"""p value below which it leaves the pool: leaving rows out by chance would narrow the other intervals."""
LEAST_SEEDS = 2
EQUAL_DIGITS = 12
"""Decimals to which a difference is rounded, so that equal means differ by 0."""


class Scatter(NamedTuple):
    """How a row scatters beside others.

    Attributes:
        ratio: Standard deviation of its residuals over that of the others'; NaN if unknown.
        p: p value of the F test that it is not larger.
    """

    ratio: float
    p: float


UNKNOWN = Scatter(math.nan, 1.0)


@dataclass(frozen=True)
class Estimate:
    """The difference of a row to the plain student.

    Attributes:
        mean: The estimate; the mean paired difference if no cell is missing.
        low: Lower end of its interval; all intervals of a ranking hold at once with 95 %.
        high: Upper end.
        p: p value, adjusted over the rows of the ranking, in [0, 1]: below .05 exactly where 0 is outside.
        scatter: Standard deviation of the row's residuals over that of the other rows'; NaN if unknown.
        own: Whether the interval is from the row's own paired differences.
        reason: Why the interval is no evidence; blank if it is.
    """

    mean: float
    low: float
    high: float
    p: float
    scatter: float
    own: bool
    reason: str = ""

    @property
    def reversed(self) -> Estimate:
        """The difference of the plain student to the row."""
        return replace(self, mean=-self.mean, low=-self.high, high=-self.low)

    @property
    def verdict(self) -> str:
        """The conclusion that the interval allows."""
        if self.reason:
            return "cannot tell"
        return "better" if self.low > 0 else "worse" if self.high < 0 else "no evidence"


@dataclass(frozen=True)
class Fit:
    """A least-squares fit of method x seed.

    Attributes:
        effects: Row -> its mean, up to a constant of the whole fit.
        covariance: Covariance of the effects in units of the residual variance, in the order of ``effects``.
        square: Sum of the squared residuals.
        freedom: Degrees of freedom of the residual.
    """

    effects: Mapping[str, float]
    covariance: NDArray[np.float64]
    square: float
    freedom: int

    @property
    def deviation(self) -> float:
        """The pooled residual standard deviation; NaN without degrees of freedom."""
        return math.sqrt(self.square / self.freedom) if self.freedom > 0 else math.nan

    def contrast(self, label: str, other: str) -> tuple[float, float]:
        """Return the difference ``label - other``, and its standard error in units of the deviation."""
        names = list(self.effects)
        weights = np.zeros(len(names))
        weights[names.index(label)], weights[names.index(other)] = 1, -1
        gain = round(self.effects[label] - self.effects[other], EQUAL_DIGITS)
        return gain, math.sqrt(weights @ self.covariance @ weights)


def fit(rows: Mapping[str, Scores]) -> Fit:
    """Fit means of rows and effects of seeds by least squares; cells may be missing.

    Args:
        rows: Label -> seed -> score.
    """
    labels, seeds = list(rows), list(dict.fromkeys(seed for scores in rows.values() for seed in scores))
    there = np.array([[seed in scores for seed in seeds] for scores in rows.values()], dtype=float)
    table = np.array([[scores.get(seed, 0.0) for seed in seeds] for scores in rows.values()])
    center = float(table.sum() / max(1.0, there.sum()))
    table = (table - center) * there
    normal = np.block([[np.diag(there.sum(1)), there], [there.T, np.diag(there.sum(0))]])
    values, vectors = np.linalg.eigh(normal)
    kept = values > 1e-9 * values[-1]
    inverse = (vectors[:, kept] / values[kept]) @ vectors[:, kept].T
    found = inverse @ np.concatenate([table.sum(1), table.sum(0)])
    means, effects = found[: len(labels)], found[len(labels) :]
    residual = (table - (means[:, None] + effects)) * there
    freedom = int(there.sum()) - int(kept.sum())
    covariance = inverse[: len(labels), : len(labels)]
    return Fit(
        dict(zip(labels, means.tolist(), strict=True)), covariance, float((residual**2).sum()), freedom
    )


class RankingModel:
    """The model of a ranking.

    Args:
        plain: Scores of the plain student.
        methods: Label -> scores of a method. Rows that share fewer than two seeds with the plain student are left
            out, since their noise cannot be estimated.
        name: Label of the plain student, or of the control that replaces it.
    """

    def __init__(self, plain: Scores, methods: Mapping[str, Scores], name: str = PLAIN) -> None:
        self.plain, self.name = plain, name
        self.methods = {
            label: scores
            for label, scores in methods.items()
            if len(scores.keys() & plain.keys()) >= LEAST_SEEDS
        }

    @cached_property
    def rows(self) -> dict[str, Scores]:
        """The plain student and the methods."""
        return {self.name: self.plain, **self.methods}

    @cached_property
    def scatter(self) -> dict[str, Scatter]:
        """Label -> how the row scatters beside the others; rows that scatter more are removed one by one."""
        found: dict[str, Scatter] = {}
        while True:
            left = {label: scores for label, scores in self.rows.items() if label not in found}
            tests = _scatter(left)
            worst = min(tests, key=lambda label: tests[label].p)
            if not tests[worst].p < UNEQUAL:
                return tests | found
            found[worst] = tests[worst]

    @cached_property
    def unequal(self) -> frozenset[str]:
        """The rows that scatter more than the others by the F test."""
        return frozenset(label for label, one in self.scatter.items() if one.p < UNEQUAL)

    @cached_property
    def extreme(self) -> frozenset[str]:
        """The rows that scatter so much more that they leave the pool."""
        return frozenset(label for label, one in self.scatter.items() if one.p < EXTREME)

    @cached_property
    def pooled(self) -> Fit:
        """The fit of the rows that do not scatter extremely."""
        return fit({label: scores for label, scores in self.rows.items() if label not in self.extreme})

    @cached_property
    def estimates(self) -> dict[str, Estimate]:
        """Label -> the difference of each method to the plain student."""
        return {label: self._estimate(label) for label in self.methods}

    def _estimate(self, label: str) -> Estimate:
        scatter = self.scatter[label].ratio
        if label in self.unequal or self.name in self.unequal:
            return self._own(label, scatter)
        mean, error = self.pooled.contrast(label, self.name)
        error *= self.pooled.deviation
        half = self.critical * error
        p = float(abs(mean) <= ROUND_OFF)
        if error > 0:
            p = chance(abs(mean) / error, len(self.methods), self.pooled.freedom, self.correlation)
        return Estimate(mean, mean - half, mean + half, p, scatter, own=False, reason=self.reason)

    @cached_property
    def step(self) -> float:
        """The resolution of the metric: the largest step of which all differences are multiples, to 1e-5."""
        scores = sorted(score for row in self.rows.values() for score in row.values())
        return math.gcd(*(round((high - low) * 1e5) for low, high in pairwise(scores))) / 1e5

    @property
    def reason(self) -> str:
        """Why the pooled residual is too small to be noise; blank if it is not."""
        noise = self.pooled.deviation
        if noise <= ROUND_OFF:
            return "no noise: the differences are the same at every seed"
        if noise < self.step / math.sqrt(12):
            steps = f"steps of {100 * self.step:.2g}"
            return f"the noise ({100 * noise:.2g}) is below what the metric resolves ({steps})"
        return ""

    def _own(self, label: str, scatter: float) -> Estimate:
        """Estimate a difference from the row's own paired differences, at Šidák's level."""
        own, k = self.methods[label], len(self.methods)
        gains = np.array([own[seed] - self.plain[seed] for seed in own.keys() & self.plain.keys()])
        n, mean = len(gains), math.fsum(gains) / len(gains)
        error = float(gains.std(ddof=1)) / math.sqrt(n)
        if error <= ROUND_OFF:
            reason = "the differences are the same at every seed"
            return Estimate(mean, mean, mean, math.nan, scatter, own=True, reason=reason)
        half = float(stdtrit(n - 1, (1 + (1 - ALPHA) ** (1 / k)) / 2)) * error
        single = 2 * float(stdtr(n - 1, -abs(mean) / error))
        p = -math.expm1(k * math.log1p(-single)) if single < 1 else 1.0
        return Estimate(mean, mean - half, mean + half, p, scatter, own=True)

    @cached_property
    def correlation(self) -> float:
        """The least correlation of two differences: 1/2 if no cell is missing; 0 for one row.

        If cells are missing, the correlations differ; using the least of them widens the intervals a little and
        never narrows them (Šidák's inequality).
        """
        labels = [label for label in self.methods if label not in self.extreme | self.unequal]
        names = list(self.pooled.effects)
        weights = np.zeros((len(labels), len(names)))
        for place, label in enumerate(labels):
            weights[place, names.index(label)], weights[place, names.index(self.name)] = 1, -1
        covariance = weights @ self.pooled.covariance @ weights.T
        scale = np.sqrt(np.diag(covariance))
        pairs = (covariance / np.outer(scale, scale))[~np.eye(len(labels), dtype=bool)]
        return max(0.0, round(float(pairs.min()), 9)) if len(pairs) else 0.0

    @cached_property
    def critical(self) -> float:
        """The half-width of the intervals in standard errors."""
        return critical(len(self.methods), self.pooled.freedom, self.correlation)

    def pair(self, label: str, other: str) -> Estimate | None:
        """Return ``label - other`` with a 95 % interval and p value for this pair alone.

        It is None if they share fewer than two seeds with each other or with the plain student.
        """
        one, two = self.rows.get(label, {}), self.rows.get(other, {})
        if len(one.keys() & two.keys()) < LEAST_SEEDS:
            return None
        if {label, other} & self.unequal:
            return RankingModel(two, {label: one}).estimates[label]
        mean, error = self.pooled.contrast(label, other)
        error *= self.pooled.deviation
        half = float(stdtrit(self.pooled.freedom, 1 - ALPHA / 2)) * error
        p = 2 * float(stdtr(self.pooled.freedom, -abs(mean) / error)) if error > 0 else 1.0
        return Estimate(mean, mean - half, mean + half, p, math.nan, own=False, reason=self.reason)


def _scatter(rows: Mapping[str, Scores]) -> dict[str, Scatter]:
    """Return how each row scatters beside the others.

    A row's part of the residual is independent of the residual of the other rows alone, so their ratio has an F
    distribution under equal variances, even if cells are missing.
    """
    whole = fit(rows)
    rest = {label: {name: s for name, s in rows.items() if name != label} for label in rows}
    return {label: _ratio(whole, fit(others)) for label, others in rest.items() if others} or dict.fromkeys(
        rows, UNKNOWN
    )


def _ratio(whole: Fit, others: Fit) -> Scatter:
    own, square = whole.freedom - others.freedom, max(0.0, whole.square - others.square)
    if own < 1 or others.freedom < 1 or others.deviation <= ROUND_OFF:
        return UNKNOWN
    ratio = square / own / others.deviation**2
    return Scatter(math.sqrt(ratio), float(fdtrc(own, others.freedom, ratio)))


@lru_cache(maxsize=4096)
def chance(statistic: float, rows: int, freedom: int, correlation: float) -> float:
    """Return the probability that any of several equally correlated t statistics is this far from 0.

    Args:
        statistic: The distance from 0, positive.
        rows: Number of statistics.
        freedom: Degrees of freedom of their common deviation, at least 1.
        correlation: Correlation of any two of them, in [0, 1).
    """
    factor, weights = _normal_nodes()
    scale, density = _scale_nodes(freedom)
    rest, shift = math.sqrt(1 - correlation), math.sqrt(correlation) * factor
    reach = statistic * scale[:, None]
    inside = ndtr((reach - shift) / rest) - ndtr((-reach - shift) / rest)
    return float(min(1.0, max(0.0, density @ (1 - inside**rows) @ weights)))


@lru_cache(maxsize=4096)
def critical(rows: int, freedom: int, correlation: float) -> float:
    """Return the distance from 0 that any of the statistics of :func:`chance` exceeds in 5 % of cases."""
    from scipy.optimize import brentq

    high = 4.0
    while chance(high, rows, freedom, correlation) > ALPHA:
        high *= 2
    return float(brentq(lambda t: chance(t, rows, freedom, correlation) - ALPHA, 0.5, high, xtol=1e-10))


@lru_cache(maxsize=1)
def _normal_nodes() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return quadrature points and weights of a standard normal variable."""
    points, weights = roots_hermitenorm(48)
    return points, weights / weights.sum()


@lru_cache(maxsize=256)
def _scale_nodes(freedom: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return quadrature points and weights of the estimated over the true deviation: trapezia in its logarithm."""
    spread = 12 / math.sqrt(2 * freedom)
    x = np.linspace(-spread - 25 / freedom, min(2.5, spread), 120)
    log_density = freedom * x - freedom * np.exp(2 * x) / 2
    log_density += math.log(2) + freedom / 2 * math.log(freedom / 2) - gammaln(freedom / 2)
    weights = np.exp(log_density) * (x[1] - x[0])
    return np.exp(x), weights / weights.sum()
