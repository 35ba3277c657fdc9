"""Which method a ranking says to try first."""

from __future__ import annotations

from dataclasses import dataclass

from kdbench.results.board import Ranking
from kdbench.results.formats import gain, times


@dataclass(frozen=True)
class Answer:
    """The method to try first, how sure that is, what it costs and how to get it again.

    Attributes:
        method: Label of its row.
        difference: Its difference to the plain student, with its interval.
        seeds: How many seeds that is over.
        reported: How many of its seeds others report.
        time: Time of its iteration relative to the plain student's, ``1.48x``, or empty.
        ties: Which of the others it cannot be told from.
        command: Runs its first seed.
    """

    method: str
    difference: str
    seeds: int
    reported: int
    time: str
    ties: str
    command: str


def answer(ranking: Ranking) -> Answer | None:
    """Return the method with the largest mean difference of those that are better; None if none is."""
    better = [row for row in ranking.methods if row["verdict"] == "better"]
    if not better:
        return None
    row = max(better, key=lambda row: row["difference"])
    return Answer(
        method=row["method"],
        difference=gain(row),
        seeds=row["shared_seeds"],
        reported=row["reported"],
        time=times(row["time_ratio"]),
        ties=_ties(ranking, row["method"]),
        command=row["command"],
    )


def _ties(ranking: Ranking, method: str) -> str:
    """How many of the others the seeds do not tell from a method."""
    others = [row["method"] for row in ranking.methods if row["method"] != method]
    found = [ranking.pair(method, other) for other in others]
    same = sum(one is None or one.verdict != "better" for one in found)
    if not same:
        return ""
    if len(others) == 1:
        return "The seeds do not tell it from the other."
    which = "any" if same == len(others) else str(same)
    return f"The seeds do not tell it from {which} of the {len(others)} others."
