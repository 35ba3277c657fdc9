"""The method trains where its card says that it does."""

from __future__ import annotations

from kdbench.conformance.broken import Broken, require, told
from kdbench.conformance.exam import Exam
from kdbench.conformance.stepping import stepped
from kdbench.selectors import canonical


def trains(exam: Exam) -> None:
    """Some iterations in each family; of the other variants one step."""
    for family in exam.families():
        try:
            ended = exam.trained(family)
        except Exception as error:
            raise Broken(f"in {family} models: {told(error, exam.target.package)}") from error
        require(bool(ended.seen.reached), f"in {family} models losses() gives no term")
    for options in exam.variants[1:]:
        for family in exam.families(options):
            try:
                stepped(exam, family, options=options)
            except Exception as error:
                selector = canonical(exam.card, options)
                raise Broken(f"{selector} in {family} models: {told(error, exam.target.package)}") from error


def leaves_settings(exam: Exam) -> None:
    """Importing, building and training it changed no setting of the process."""
    require(not exam.changed, f"it changes {' and '.join(sorted(exam.changed))}")
