"""Two methods against each other: the paired t test over the seeds that both have, block by block."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from kdbench.results.leaderboard import origins, ranked_under, recipe_of
from kdbench.results.record import Record
from kdbench.results.statistics import Difference, deviation, difference, mean, paired_p
from kdbench.specs import PLAIN, digest

LEVEL = 1e-6
"""Mean differences up to this are neither a win nor a loss: metrics have single precision."""
LEAST_DATASETS = 6
"""The fewest datasets over which Wilcoxon's signed-rank test can reach p < 0.05."""


@dataclass(frozen=True)
class Side:
    """What one of the two methods has in a block.

    Attributes:
        method: Its selector.
        scores: Seed -> score in [0, 1].
        failed: Seeds that failed or timed out, and have no score.
        reported: Seeds whose scores others report.
        left_out: Earlier revisions or options, whose results are not used here.
    """

    method: str
    scores: Mapping[int, float]
    failed: tuple[int, ...] = ()
    reported: tuple[int, ...] = ()
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """Two methods under one recipe and teacher.

    Attributes:
        dataset: Name of the dataset.
        pair: Name of the teacher-student pair.
        schedule: ``default`` or ``custom``.
        recipe: First 12 digits of the recipe's hash.
        teacher: First 12 digits of the teacher's identity; empty where neither has one.
        metric: Name of the metric.
        first: The one that is compared with.
        second: The one that is judged.
    """

    dataset: str
    pair: str
    schedule: str
    recipe: str
    teacher: str
    metric: str
    first: Side
    second: Side

    @property
    def seeds(self) -> list[int]:
        """Seeds that both have."""
        return sorted(self.first.scores.keys() & self.second.scores.keys())

    @property
    def difference(self) -> Difference:
        """Second less first, over the shared seeds, with the 95 % t interval."""
        return difference(self.second.scores, self.first.scores)

    @property
    def p(self) -> float:
        """Two-sided p value of the paired t test; NaN below two shared seeds."""
        return paired_p([self.second.scores[seed] - self.first.scores[seed] for seed in self.seeds])

    @property
    def verdict(self) -> str:
        """What the interval allows to say of the second."""
        return self.difference.verdict if self.seeds else "no shared seed"

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
        wins: Blocks in which the second's mean is higher.
        losses: Blocks in which it is lower.
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
        first: Canonical selector of the one to compare with, often ``none``.
        second: Canonical selector of the one to judge.

    Returns:
        One comparison a (dataset, pair, recipe, teacher) in which both were run, sorted.
    """
    records = list({record.identity: record for record in sorted(records, key=_preference)}.values())
    began_with = origins(record for record in records if record.kind == "teacher")
    groups: dict[tuple[str, ...], list[Record]] = defaultdict(list)
    for cell in records:
        if cell.kind == "cell" and cell.schedule != "smoke" and cell.selector in (first, second):
            recipe = recipe_of(cell)[:12]
            groups[cell.dataset, cell.pair_name, cell.schedule, recipe, cell.metric].append(cell)
    return [block for key in sorted(groups) for block in _blocks(key, groups[key], began_with, first, second)]


def _preference(record: Record) -> tuple[bool, bool, str]:
    """Of two records of one identity the later counts: a done one, an own one."""
    return record.done, record.reported_by is None, record.to_json()


def _blocks(
    key: tuple[str, ...], cells: Sequence[Record], began_with: Mapping[str, str], first: str, second: str
) -> Iterator[Comparison]:
    """One comparison a teacher; the plain students serve them all."""
    taught = {cell.identity: ranked_under(cell, began_with) for cell in cells if cell.method != PLAIN}
    for teacher in sorted(set(taught.values())):
        here = [cell for cell in cells if taught.get(cell.identity, teacher) == teacher]
        sides = [[cell for cell in here if cell.selector == selector] for selector in (first, second)]
        if all(sides):
            dataset, pair, schedule, recipe, metric = key
            yield Comparison(
                dataset, pair, schedule, recipe, teacher[:12], metric, side(sides[0]), side(sides[1])
            )


def side(cells: Sequence[Record]) -> Side:
    """What one method has: of several revisions, or meanings of its selector, the latest.

    The plain student has no options: of its revisions the latest counts for each seed, as in a leaderboard.
    """
    cells = sorted(cells, key=lambda cell: (cell.revision, cell.made.clock, cell.identity))
    kept = cells if cells[-1].method == PLAIN else [cell for cell in cells if _kind(cell) == _kind(cells[-1])]
    out = {_kind(cell) for cell in cells if cell not in kept}
    done = {cell.seed: cell for cell in kept if cell.done}
    lost = {cell.seed for cell in kept if cell.status in ("failed", "timed-out")} - done.keys()
    return Side(
        method=cells[-1].selector,
        scores={seed: cell.score for seed, cell in done.items() if cell.score is not None},
        failed=tuple(sorted(lost)),
        reported=tuple(sorted(seed for seed, cell in done.items() if cell.reported_by is not None)),
        left_out=tuple(f"revision {revision}, options {options[:6]}" for revision, options in sorted(out)),
    )


def _kind(cell: Record) -> tuple[int, str]:
    return cell.revision, digest(dict(cell.options))


def overall(blocks: Iterable[Comparison]) -> Overall:
    """Wins and losses over the blocks with a shared seed, and a test over datasets where that is honest."""
    gains: dict[str, list[float]] = defaultdict(list)
    for block in blocks:
        if block.seeds:
            gains[block.dataset].append(block.difference.mean)
    every = [gain for values in gains.values() for gain in values]
    return Overall(
        wins=sum(gain > LEVEL for gain in every),
        losses=sum(gain < -LEVEL for gain in every),
        ties=sum(abs(gain) <= LEVEL for gain in every),
        datasets=len(gains),
        p=_signed_rank([mean(values) for values in gains.values()]),
    )


def _signed_rank(gains: Sequence[float]) -> float:
    if len(gains) < LEAST_DATASETS or all(abs(gain) <= LEVEL for gain in gains):
        return math.nan
    from scipy.stats import wilcoxon  # slow to import, and most comparisons do without

    return float(wilcoxon(gains).pvalue)
