"""Methods over several rankings (datasets and pairs): average rank, critical difference, mean relative gain."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from kdbench.results.board import Ranking
from kdbench.results.formats import csv_table, percent
from kdbench.results.statistics import ALPHA, mean, rank
from kdbench.results.table import Table
from kdbench.specs import PLAIN

if TYPE_CHECKING:
    import pandas as pd

ACROSS_COLUMNS = {
    "comparison": "int64",
    "rankings": "int64",
    "where": "str",
    "method": "str",
    "average_rank": "float64",
    "relative_gain": "float64",
    "friedman_p": "float64",
    "critical_difference": "float64",
    "nemenyi_p": "float64",
    "verdict": "str",
    "run_in": "int64",
}
"""Column -> dtype. Rows with one ``comparison`` were all run in the same ``rankings``, which ``where`` names;
``average_rank`` 1 is best; ``relative_gain`` is the mean over the rankings of the difference to the plain student
over its score, a fraction; ``nemenyi_p`` is against the plain student; ``run_in`` counts all rankings of the
method."""
ACROSS_LEGEND = (
    "Methods over several rankings, each compared only with those that were run where it was. Rank 1 is best; the "
    "plain student (none) is ranked with them. The verdict is against it: Friedman's test must find a difference, "
    "and the average ranks be apart by more than Nemenyi's critical difference (5 %; Demšar 2006). Gain is the "
    "mean over the rankings of the difference to the plain student over its score. With few "
    "rankings these tests find little."
)
TIE_DIGITS = 9
"""Decimals of a difference that count: smaller differences are ties."""


@dataclass(frozen=True)
class Across:
    """Methods over several rankings.

    Attributes:
        rows: A row with ``ACROSS_COLUMNS`` for each method of a comparison; that over most rankings comes first.
        rankings: The names of all rankings.
        alone: Method that was run in one ranking only -> that ranking.
    """

    rows: Sequence[Mapping[str, Any]]
    rankings: tuple[str, ...]
    alone: Mapping[str, str]

    @property
    def comparisons(self) -> list[list[Mapping[str, Any]]]:
        """The rows of each comparison."""
        return [list(rows) for _, rows in groupby(self.rows, key=lambda row: row["comparison"])]

    @property
    def legend(self) -> str:
        """How to read the tables, and the methods that they leave out."""
        return f"{ACROSS_LEGEND} {self.left_out}".rstrip()

    @property
    def left_out(self) -> str:
        """A sentence on the methods that were run in one ranking only; blank if there are none."""
        methods: dict[str, list[str]] = {}
        for method, where in self.alone.items():
            methods.setdefault(where, []).append(method)
        told = "; ".join(f"{', '.join(names)} ({where})" for where, names in sorted(methods.items()))
        return f"Run in one ranking only, and so not compared here: {told}." if told else ""

    def frame(self) -> pd.DataFrame:
        """Return the rows as a frame."""
        import pandas as pd

        frame: pd.DataFrame = pd.DataFrame(self.rows, columns=list(ACROSS_COLUMNS)).astype(ACROSS_COLUMNS)
        return frame

    def csv(self) -> str:
        """Return the rows as CSV."""
        return csv_table(list(ACROSS_COLUMNS), self.rows).csv()

    def tables(self) -> list[Table]:
        """Return a table for each comparison, for people."""
        titles = ["method", "average rank", "gain", "p vs none", "verdict"]
        return [
            Table(titles, list(map(cells, rows)), "lrrrl", self._heading(rows[0]))
            for rows in self.comparisons
        ]

    def _heading(self, row: Mapping[str, Any]) -> str:
        return (
            f"{row['rankings']} of {len(self.rankings)} rankings ({row['where']}): "
            f"Friedman p = {row['friedman_p']:.2g}, critical difference {row['critical_difference']:.2f}"
        )


def cells(row: Mapping[str, Any], places: str = ".2g") -> list[str]:
    """Return method, average rank, gain, p value (in a format) and verdict of a row, for people."""
    gain, p = percent(row["relative_gain"], "+"), row["nemenyi_p"]
    shown = "" if math.isnan(p) else f"{p:{places}}"
    return [row["method"], f"{row['average_rank']:.2f}", f"{gain} %" if gain else "", shown, row["verdict"]]


def across(rankings: Sequence[Ranking]) -> Across:
    """Compare methods over rankings, each only where it was run.

    There is a comparison for each set of two or more rankings that is the set of some method. It has the plain
    student and all methods that were run in the whole set, ranked by their paired difference to the plain student.
    Only the default schedule counts; each recipe and teacher is a ranking of its own.
    """
    names, found = _gains([one for one in rankings if one.first["schedule"] == "default"])
    sets = {frozenset(gains) for method, gains in found.items() if method != PLAIN}
    several = sorted((s for s in sets if len(s) > 1), key=lambda s: (-len(s), sorted(s)))
    rows = [row for index, s in enumerate(several, 1) for row in _comparison(index, sorted(s), names, found)]
    alone = {method: names[min(gains)] for method, gains in sorted(found.items()) if len(gains) == 1}
    return Across(rows, tuple(names), {m: where for m, where in alone.items() if m != PLAIN})


def _gains(rankings: Sequence[Ranking]) -> tuple[list[str], dict[str, dict[int, tuple[float, float]]]]:
    """Return the names of the rankings, and method -> index of a ranking -> difference and relative gain."""
    names: list[str] = []
    found: dict[str, dict[int, tuple[float, float]]] = {}
    for ranking in sorted(rankings, key=lambda one: one.key):
        known = [row for row in ranking.methods if not math.isnan(row["difference"])]
        if not known:
            continue
        for row in known:
            found.setdefault(row["method"], {})[len(names)] = (row["difference"], row["relative_gain"])
        found.setdefault(PLAIN, {})[len(names)] = (0.0, 0.0)
        names.append(_name(ranking, rankings))
    return names, found


def _name(ranking: Ranking, rankings: Sequence[Ranking]) -> str:
    """Return dataset and pair of a ranking, and what else distinguishes it from others."""
    own = ranking.first
    same = [
        r.first for r in rankings if (r.first["dataset"], r.first["pair"]) == (own["dataset"], own["pair"])
    ]
    more = [f"{key} {own[key]}" for key in ("recipe", "teacher", "metric") if len({r[key] for r in same}) > 1]
    return f"{own['dataset']}: {own['pair']}{' (' if more else ''}{', '.join(more)}{')' if more else ''}"


def _comparison(
    index: int,
    places: Sequence[int],
    names: Sequence[str],
    found: Mapping[str, Mapping[int, tuple[float, float]]],
) -> Iterator[dict[str, object]]:
    here = {method: gains for method, gains in found.items() if gains.keys() >= set(places)}
    result = rank({m: [round(g[place][0], TIE_DIGITS) for place in places] for m, g in here.items()})
    for method in sorted(here, key=lambda method: (result.average[method], method)):
        p = math.nan if method == PLAIN else result.p(method, PLAIN)
        yield {
            "comparison": index,
            "rankings": len(places),
            "where": "; ".join(names[place] for place in places),
            "method": method,
            "average_rank": result.average[method],
            "relative_gain": mean(here[method][place][1] for place in places),
            "friedman_p": result.friedman_p,
            "critical_difference": result.critical_difference,
            "nemenyi_p": p,
            "verdict": _verdict(p, result.friedman_p, result.average[PLAIN] - result.average[method]),
            "run_in": len(found[method]),
        }


def _verdict(p: float, friedman_p: float, ahead: float) -> str:
    """Return the verdict against the plain student; Nemenyi's test counts only if Friedman's finds a difference."""
    if math.isnan(p):
        return ""
    if max(p, friedman_p) >= ALPHA:
        return "no evidence"
    return "better" if ahead > 0 else "worse"
