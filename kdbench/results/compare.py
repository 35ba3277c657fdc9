"""Compares two methods over the seeds that both have, ranking by ranking."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kdbench.errors import UserError
from kdbench.plugins import registry, suggestion
from kdbench.results.board import Ranking
from kdbench.results.leaderboard import rankings
from kdbench.results.model import Estimate
from kdbench.results.naming import fits
from kdbench.results.record import Record
from kdbench.results.row import Row
from kdbench.results.statistics import deviation, gains, mean
from kdbench.results.store import Store
from kdbench.selectors import canonical, method_of
from kdbench.specs import PLAIN

LEVEL = 1e-6
"""Largest mean difference that counts as a tie: metrics have single precision."""
LEAST_DATASETS = 6
"""The fewest datasets over which Wilcoxon's signed-rank test can reach p < 0.05."""


@dataclass(frozen=True)
class Side:
    """The results of one of the two methods in a ranking.

    Attributes:
        method: Its selector.
        label: The label of its row.
        scores: Seed -> score in [0, 1].
        failed: Seeds that failed or timed out, and have no score.
        reported: Seeds whose scores others report.
        left_out: Labels of rows of earlier revisions or defaults, whose results are not used.
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
        ranking: The ranking that has both.
        first: The reference.
        second: The method that is judged.
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
        """The difference, even of a single shared seed; NaN without one."""
        found = self.difference
        if found is not None:
            return found.mean
        return self.ranking.sign * mean(gains(self.second.scores, self.first.scores))

    @property
    def verdict(self) -> str:
        """The conclusion that the interval allows about the second method."""
        found = self.difference
        if found is None:
            return "one seed" if self.seeds else "no shared seed"
        return found.verdict

    def alone(self, side: Side) -> list[int]:
        """Return the seeds that only this side has; they are not used."""
        return sorted(side.scores.keys() - set(self.seeds))

    def shared(self, side: Side) -> tuple[float, float]:
        """Return mean and standard deviation over the shared seeds; NaN where there are too few."""
        values = [side.scores[seed] for seed in self.seeds]
        return mean(values), deviation(values)


@dataclass(frozen=True)
class Overall:
    """Several comparisons together.

    Attributes:
        wins: Number of rankings in which the second method's mean is better.
        losses: Number in which it is worse.
        ties: Number in which it is equal.
        datasets: Number of datasets.
        p: p value of Wilcoxon's signed-rank test over the datasets, each with the mean of its rankings, which share
            their images; NaN below 6 datasets, which cannot be evidence.
    """

    wins: int
    losses: int
    ties: int
    datasets: int
    p: float


def compare(
    results: Path, first: str, second: str, *, dataset: str | None = None, pair: str | None = None
) -> list[Comparison]:
    """Compare two methods as :func:`kdbench.compare` does; broken records are logged as warnings."""
    records = _chosen(Store(results).readable(dataset), dataset, pair, results)
    one, two = (_recorded(text, records, results) for text in (first, second))
    if one == two:
        raise UserError(f"'{first}' and '{second}' are the same method, '{one}': give two.")
    found = comparisons(records, one, two)
    if not found:
        raise UserError(_apart(records, one, two))
    return found


def _chosen(records: Iterable[Record], dataset: str | None, pair: str | None, results: Path) -> list[Record]:
    """Return the cells of a dataset and pair, and all teachers; raise UserError if there is no cell."""
    records = list(records)
    if not records and dataset is not None:
        registry().dataset(dataset)
    teachers = [record for record in records if record.kind == "teacher"]
    cells = [record for record in records if record.kind == "cell" and record.schedule != "smoke"]
    here = [cell for cell in cells if pair in (None, cell.pair_name)]
    if cells and not here:
        near = suggestion(str(pair), {cell.pair_name for cell in cells})
        raise UserError(f"no results of pair '{pair}' in {results}.{near}")
    if not here:
        of = f" of '{dataset}'" if dataset else ""
        raise UserError(f"no results{of} in {results} to compare: make some with `kdbench run`.")
    return [*teachers, *here]


def _recorded(text: str, records: Iterable[Record], results: Path) -> str:
    """Return the selector in the records that a user's text stands for; raise UserError if there is none."""
    cells = [record for record in records if record.kind == "cell"]
    known = {cell.selector for cell in cells}
    if found := {cell.selector for cell in cells if fits(text, cell)}:
        return text if text in found else min(found, key=lambda one: (len(one), one))
    if text == "teacher":
        raise UserError(
            "the teacher is one model, with no seeds to pair: compare with none, the plain student; "
            "`kdbench leaderboard` has the teacher's own row."
        )
    meant = canonical(*method_of(text))
    if meant in known:
        return meant
    raise UserError(f"no results of '{meant}' in {results}.{suggestion(meant, known)}")


def _apart(records: Iterable[Record], first: str, second: str) -> str:
    """Say why there is nothing to compare."""
    where = {
        name: ", ".join(sorted({cell.pair_name for cell in records if cell.selector == name}))
        for name in (first, second)
    }
    return (
        f"'{first}' (on {where[first]}) and '{second}' (on {where[second]}) have no recipe and teacher in "
        "common: run both on one pair."
    )


def comparisons(records: Iterable[Record], first: str, second: str) -> list[Comparison]:
    """Compare two selectors in each ranking that has both, sorted; smoke runs do not count.

    Args:
        records: Of any dataset, in any order.
        first: Selector of the reference, often ``none``.
        second: Selector of the method that is judged.
    """
    return [
        Comparison(ranking, _side(ranking, first), _side(ranking, second))
        for ranking in sorted(rankings(records), key=lambda one: one.key)
        if all(_rows(ranking, selector) for selector in (first, second))
    ]


def _rows(ranking: Ranking, selector: str) -> list[Row]:
    """Return the rows that a selector stands for, one for each revision and set of defaults, the latest last."""
    rows = [
        row for row in ranking.rows if any(cell.kind == "cell" and fits(selector, cell) for cell in row.cells)
    ]
    return sorted(rows, key=lambda row: max(map(_age, row.cells)))


def _age(cell: Record) -> tuple[object, ...]:
    return cell.revision, cell.made.clock, cell.identity


def _side(ranking: Ranking, selector: str) -> Side:
    """Return the results of a selector in a ranking: those of its latest row."""
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
    """Count wins and losses where there is a shared seed, and test over the datasets if there are enough."""
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
