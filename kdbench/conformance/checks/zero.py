"""Without its weights the method is the plain student."""

from __future__ import annotations

from kdbench.conformance.broken import Broken
from kdbench.conformance.compare import first_difference
from kdbench.conformance.exam import Exam
from kdbench.conformance.silence import silenced


def plain(exam: Exam) -> None:
    """The student's weights, bit for bit, and its evaluations."""
    quiet = silenced(exam)
    for family in exam.families(quiet):
        ours, theirs = exam.trained(family, quiet), exam.plain(family)
        difference = first_difference(ours.student, theirs.student)
        if difference is not None or ours.curve != theirs.curve:
            shown = {name: getattr(quiet, name) for name in type(quiet).plain} or "its weights at 0"
            raise Broken(
                f"with {shown} in {family} models the student is not the plain one "
                f"({difference or 'its evaluations'} differs)"
            )
