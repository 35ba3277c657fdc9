"""Terms teach."""

from __future__ import annotations

from kdbench.conformance.broken import require
from kdbench.conformance.exam import Exam


def reach(exam: Exam) -> None:
    """In some iteration each term gives the student a gradient, and something of each part of the method learns.

    Not everything: the adapter of a level is idle in scenes that have nothing for this level.
    """
    for family in exam.families():
        seen = exam.trained(family).seen
        deaf = ", ".join(name for name, reached in seen.reached.items() if not reached)
        require(not deaf, f"in {family} models the term '{deaf}' gives the student no gradient")
        idle = ", ".join(sorted(seen.idle_parts))
        require(not idle, f"in {family} models no term gives a gradient to the method's own {idle}")
