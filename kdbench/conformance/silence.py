"""The options at which a method adds nothing."""

from __future__ import annotations

from typing import Any

from kdbench.cards import Options
from kdbench.conformance.broken import require
from kdbench.conformance.exam import Exam


def silenced(exam: Exam) -> Options:
    """Return the options with the values at which a run is the plain student's."""
    kind = exam.card.options
    values: dict[str, Any] = dict(kind.plain) or {name: 0.0 for name in kind.model_fields if is_weight(name)}
    require(
        bool(values),
        "nothing says how to switch it off: name an option `weight`, or say the values in the options' `plain`",
    )
    return kind.model_validate(exam.options.model_dump() | values)


def is_weight(name: str) -> bool:
    """Whether an option is the weight of a term."""
    return name == "weight" or name.endswith("_weight")
