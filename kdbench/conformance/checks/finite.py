"""Losses stay finite."""

from __future__ import annotations

from kdbench.conformance.broken import Broken, told
from kdbench.conformance.exam import Exam

ITERATIONS = 50


def fifty(exam: Exam) -> None:
    """A longer training in each family, judged at its end alone."""
    for family in exam.families():
        try:
            exam.train(family, iterations=ITERATIONS, validations=1)
        except Exception as error:
            raise Broken(f"in {family} models: {told(error, exam.target.package)}") from error
