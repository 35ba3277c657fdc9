"""Two methods against each other, over the seeds that both have, ranking by ranking."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kdbench.results.board import Ranking
from kdbench.results.leaderboard import rankings
from kdbench.results.model import Estimate
from kdbench.results.naming import fits
from kdbench.results.record import Record
from kdbench.results.row import Row
from kdbench.results.statistics import deviation, gains, mean
from kdbench.specs import PLAIN

LEVEL = 1e-6
"""Mean differences up to this are neither a win nor a loss: metrics have single precision."""
LEAST_DATASETS = 6
"""The fewest datasets over which Wilcoxon's signed-rank test can reach p < 0.05."""


@dataclass(frozen=True)
class Side:
    """What one of the two methods has in a block.

    Attributes:
        method: Its selector.
        label: Of its row.
        scores: Seed -> score in [0, 1].
        failed: Seeds that failed or timed out, and have no score.
        reported: Seeds whose scores others report.
        left_out: Rows of earlier revisions or defaults, whose results are not used here.
    """

    method: str
    label: str
    scores: Mapping[int, float]
    failed: tuple[int, ...] = ()
    reported: tuple[int, ...] = ()
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """Two methods under one recipe and teacher.

    Attributes:
        ranking: That both are rows of.
        first: The one that is compared with.
        second: The one that is judged.
    """

    ranking: Ranking
    first: Side
    second: Side

    @property
    def seeds(self) -> list[int]:
        """Seeds that both have."""
        return sorted(self.first.scores.keys() & self.second.scores.keys())

    @property
    def difference(self) -> Estimate | None:
        """How much better the second is, with its 95 % interval; None below two shared seeds.

        Against the plain student the interval is the leaderboard's, which holds for all rows at once; of two other
        methods it is for this pair alone, from the same pooled noise.
        """
        if not self.against_plain:
            return self.ranking.pair(self.second.label, self.first.label)
        forward = self.first.label == PLAIN
        label = self.ranking.counted(self.second.label if forward else self.first.label)
        found = self.ranking.model.estimates.get(label)
        return found if found is None or forward else found.reversed

    @property
    def against_plain(self) -> bool:
        """Whether one of the two is the plain student, and the other a method."""
        both = {self.first.label, self.second.label}
        return PLAIN in both and not both & self.ranking.controls.keys()

    @property
    def gain(self) -> float:
        """The difference, also of one shared seed; NaN without one."""
        found = self.difference
        if found is not None:
            return found.mean
        return self.ranking.sign * mean(gains(self.second.scores, self.first.scores))

    @property
    def verdict(self) -> str:
        """What the interval allows to say of the second."""
        found = self.difference
        if found is None:
            return "one seed" if self.seeds else "no shared seed"
        return found.verdict

    def alone(self, side: Side) -> list[int]:
        """Seeds that only that side has: they are not used."""
        return sorted(side.scores.keys() - set(self.seeds))

    def shared(self, side: Side) -> tuple[float, float]:
        """Mean and standard deviation of that side over the shared seeds; NaN where there are too few."""
        values = [side.scores[seed] for seed in self.seeds]
        return mean(values), deviation(values)


@dataclass(frozen=True)
class Overall:
    """Several comparisons together.

    Attributes:
        wins: Blocks in which the second's mean is better.
        losses: Blocks in which it is worse.
        ties: Blocks in which it is the same.
        datasets: Datasets that they are of.
        p: Wilcoxon's signed-rank test over the datasets (of each the mean over its blocks); NaN below 6 datasets:
            blocks of one dataset share their images, and fewer datasets cannot be evidence.
    """

    wins: int
    losses: int
    ties: int
    datasets: int
    p: float


def comparisons(records: Iterable[Record], first: str, second: str) -> list[Comparison]:
    """Compare two selectors wherever both have results; smoke runs do not count.

    Args:
        records: Of any dataset, in any order.
        first: Selector of the one to compare with, often ``none``.
        second: Selector of the one to judge.

    Returns:
        One comparison a (dataset, pair, recipe, teacher) in which both were run, sorted.
    """
    return [
        Comparison(ranking, side(ranking, first), side(ranking, second))
        for ranking in sorted(rankings(records), key=lambda one: one.key)
        if all(_rows(ranking, selector) for selector in (first, second))
    ]


def _rows(ranking: Ranking, selector: str) -> list[Row]:
    """Return the rows that a selector means, one for each revision and set of defaults, the latest last."""
    rows = [
        row for row in ranking.rows if any(cell.kind == "cell" and fits(selector, cell) for cell in row.cells)
    ]
    return sorted(rows, key=lambda row: max(map(_age, row.cells)))


def _age(cell: Record) -> tuple[object, ...]:
    return cell.revision, cell.made.clock, cell.identity


def side(ranking: Ranking, selector: str) -> Side:
    """Return what a selector has in a ranking: of its rows the latest."""
    *older, row = _rows(ranking, selector)
    lost = {cell.seed for cell in row.cells if cell.status in ("failed", "timed-out")} - row.done.keys()
    return Side(
        method=selector,
        label=row["method"],
        scores=row.scores(),
        failed=tuple(sorted(lost)),
        reported=tuple(sorted(seed for seed, cell in row.done.items() if cell.reported_by is not None)),
        left_out=tuple(one["method"] for one in older),
    )


def overall(blocks: Iterable[Comparison]) -> Overall:
    """Wins and losses over the blocks with a shared seed, and a test over datasets where that is honest."""
    found: dict[str, list[float]] = defaultdict(list)
    for block in blocks:
        if block.seeds:
            found[block.ranking.first["dataset"]].append(block.gain)
    every = [gain for values in found.values() for gain in values]
    return Overall(
        wins=sum(gain > LEVEL for gain in every),
        losses=sum(gain < -LEVEL for gain in every),
        ties=sum(abs(gain) <= LEVEL for gain in every),
        datasets=len(found),
        p=_signed_rank([mean(values) for values in found.values()]),
    )


def _signed_rank(gains: Sequence[float]) -> float:
    if len(gains) < LEAST_DATASETS or all(abs(gain) <= LEVEL for gain in gains):
        return math.nan
    from scipy.stats import wilcoxon  # slow to import, and most comparisons do without

    return float(wilcoxon(gains).pvalue)
