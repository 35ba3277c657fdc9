"""The options at which a method adds nothing to the loss."""

from __future__ import annotations

from typing import Any

from kdbench.cards import Options, is_weight
from kdbench.conformance.broken import require
from kdbench.conformance.exam import Exam


def silenced(exam: Exam) -> Options:
    """Return the options changed to the values at which a run equals the plain student's."""
    kind = exam.card.options
    values: dict[str, Any] = dict(kind.plain) or {name: 0.0 for name in kind.model_fields if is_weight(name)}
    numbers = {name: 0.0 for name, field in kind.model_fields.items() if isinstance(field.default, float)}
    require(
        bool(values),
        "nothing says at which options it adds nothing: call an option `weight` or `..._weight`, or write them "
        f"into {kind.__name__}, such as `plain: ClassVar = {numbers or {'variant': 'none'}}`",
    )
    return kind.model_validate(exam.options.model_dump() | values)
