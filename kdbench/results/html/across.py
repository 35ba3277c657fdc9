"""What the page says over all rankings: average ranks, the critical difference and mean gains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kdbench.results.across import ACROSS_LEGEND, across
from kdbench.results.board import Ranking
from kdbench.results.formats import percent
from kdbench.results.html.sections import Figure
from kdbench.results.plots import ranks
from kdbench.results.statistics import ALPHA

CAPTION = "Critical-difference diagram: a bar joins methods whose average ranks are not told apart."


@dataclass(frozen=True)
class SharedRankings:
    """Methods that were run in the same rankings.

    Attributes:
        where: The rankings.
        friedman: Whether any of them differ, as a sentence.
        rows: Method, average rank, mean relative gain, p value and verdict of each, the best first.
        figure: The critical-difference diagram, or None.
    """

    where: str
    friedman: str
    rows: list[list[str]]
    figure: Figure | None


@dataclass(frozen=True)
class AcrossSection:
    """All comparisons.

    Attributes:
        comparisons: The one over the most rankings first.
        legend: How to read them.
        alone: Which methods were run in one ranking only, or empty.
    """

    comparisons: list[SharedRankings]
    legend: str
    alone: str

    @property
    def figures(self) -> list[Figure]:
        """The diagrams."""
        return [one.figure for one in self.comparisons if one.figure is not None]


def overall(rankings: Sequence[Ranking]) -> AcrossSection | None:
    """Return the comparisons over rankings; None where no method was run in two of them."""
    found = across(rankings)
    if not found.rows:
        return None
    compared = [_comparison(rows, f"across-{place}") for place, rows in enumerate(found.comparisons, 1)]
    return AcrossSection(compared, ACROSS_LEGEND, found.left_out)


def _comparison(block: Sequence[Mapping[str, Any]], name: str) -> SharedRankings:
    first = block[0]
    average = {row["method"]: row["average_rank"] for row in block}
    picture = ranks(average, first["critical_difference"], first["rankings"])
    figure = None if picture is None else Figure(name, CAPTION, picture)
    p = first["friedman_p"]
    meaning = (
        "the methods differ" if p < ALPHA else "no evidence that any two differ: the ranks may be chance"
    )
    friedman = f"Friedman's test over {first['rankings']} rankings: p = {p:.3f}, {meaning}."
    return SharedRankings(first["where"], friedman, [_cells(row) for row in block], figure)


def _cells(row: Mapping[str, Any]) -> list[str]:
    p = row["nemenyi_p"]
    gain = percent(row["relative_gain"], "+")
    shown = "" if p != p else f"{p:.3f}"
    return [row["method"], f"{row['average_rank']:.2f}", f"{gain} %" if gain else "", shown, row["verdict"]]
