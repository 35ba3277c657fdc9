"""Methods over several rankings (datasets and pairs): average rank, critical difference, mean relative gain."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from kdbench.results.columns import GROUP
from kdbench.results.formats import rows
from kdbench.results.ranks import ranks
from kdbench.results.statistics import ALPHA, mean
from kdbench.specs import PLAIN

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
DIGITS = 9
"""Decimals of a difference that count: what is beyond is rounding, and a tie."""


@dataclass(frozen=True)
class Across:
    """Methods over several rankings.

    Attributes:
        frame: A row a method and comparison, with ``ACROSS_COLUMNS``.
        rankings: All rankings that were looked at, by name.
        alone: Method -> the one ranking that it was run in: nothing to average.
    """

    frame: pd.DataFrame
    rankings: tuple[str, ...]
    alone: Mapping[str, str]


def across(frame: pd.DataFrame) -> Across:
    """Compare methods over the rankings of a frame, each only where it was run.

    There is one comparison for each set of two or more rankings in which some method was run: of all methods that
    were run in the whole set, the plain student with them, ranked by their paired difference to it. Only the
    default schedule counts; each recipe and teacher is a ranking of its own.

    Args:
        frame: Leaderboards, as :func:`kdbench.results.leaderboard.leaderboard` gives them.
    """
    names, found = _gains(frame)
    sets = {frozenset(gains) for method, gains in found.items() if method != PLAIN}
    several = sorted((s for s in sets if len(s) > 1), key=lambda s: (-len(s), sorted(s)))
    lines = [
        line for index, s in enumerate(several, 1) for line in _comparison(index, sorted(s), names, found)
    ]
    table: pd.DataFrame = pd.DataFrame(lines, columns=list(ACROSS_COLUMNS)).astype(ACROSS_COLUMNS)
    alone = {method: names[min(gains)] for method, gains in sorted(found.items()) if len(gains) == 1}
    return Across(table, tuple(names), {m: where for m, where in alone.items() if m != PLAIN})


def _gains(frame: pd.DataFrame) -> tuple[list[str], dict[str, dict[int, tuple[float, float]]]]:
    """Names of the rankings; method -> place of a ranking -> its difference and relative gain there."""
    names: list[str] = []
    found: dict[str, dict[int, tuple[float, float]]] = {}
    default = frame[frame["schedule"] == "default"]
    for _, block in default.groupby(GROUP, sort=True):
        known = [row for row in rows(block) if not math.isnan(row["difference"])]
        if not known:
            continue
        for row in known:
            found.setdefault(row["method"], {})[len(names)] = (row["difference"], row["relative_gain"])
        found.setdefault(PLAIN, {})[len(names)] = (0.0, 0.0)
        names.append(_name(rows(block)[0], default))
    return names, found


def _name(row: Mapping[str, str], frame: pd.DataFrame) -> str:
    """Dataset and pair, and what else is needed to tell it from others."""
    same = frame[(frame["dataset"] == row["dataset"]) & (frame["pair"] == row["pair"])]
    more = [f"{key} {row[key]}" for key in ("recipe", "teacher", "metric") if same[key].nunique() > 1]
    return f"{row['dataset']}: {row['pair']}{' (' if more else ''}{', '.join(more)}{')' if more else ''}"


def _comparison(
    index: int,
    places: Sequence[int],
    names: Sequence[str],
    found: Mapping[str, Mapping[int, tuple[float, float]]],
) -> Iterator[dict[str, object]]:
    here = {method: gains for method, gains in found.items() if gains.keys() >= set(places)}
    result = ranks({m: [round(g[place][0], DIGITS) for place in places] for m, g in here.items()})
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
    """Against the plain student; Nemenyi's test only counts where Friedman's finds any difference."""
    if math.isnan(p):
        return ""
    if max(p, friedman_p) >= ALPHA:
        return "no evidence"
    return "better" if ahead > 0 else "worse"
