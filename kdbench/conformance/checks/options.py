"""The options."""

from __future__ import annotations

import math
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from kdbench.cards import Options
from kdbench.conformance.broken import Broken, require
from kdbench.conformance.exam import Exam
from kdbench.conformance.silence import is_weight
from kdbench.errors import UserError
from kdbench.selectors import canonical, parse, resolve

UNKNOWN = "no_such_option"


def validated(exam: Exam) -> None:
    """Defaults are in range and survive a selector; unknown, infinite and negative weights are refused."""
    kind = exam.card.options
    for name, field in kind.model_fields.items():
        require(not field.is_required(), f"option '{name}' has no default")
        require(bool(field.description), f"option '{name}' has no description: give it a docstring")
    _accepted(kind, kind().model_dump(), "its defaults are not valid")
    for values in _chosen(exam):
        _accepted(kind, values, f"{values} is not valid")
    require(not _accepts(kind, {UNKNOWN: 1}), "an unknown option is accepted")
    for name, field in kind.model_fields.items():
        _range(kind, name, field)
    _pasted_back(exam)


def _chosen(exam: Exam) -> list[dict[str, Any]]:
    """What checks choose: each variant, and what makes the plain student."""
    return [*({"variant": name} for name in exam.card.variants), dict(exam.card.options.plain)]


def _accepted(kind: type[Options], values: dict[str, Any], otherwise: str) -> None:
    try:
        kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise Broken(f"{otherwise}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _accepts(kind: type[Options], values: dict[str, Any]) -> bool:
    try:
        kind.model_validate(values)
    except ValidationError:
        return False
    return True


def _range(kind: type[Options], name: str, field: FieldInfo) -> None:
    if isinstance(field.get_default(call_default_factory=True), float):
        for value in (math.nan, math.inf):
            require(not _accepts(kind, {name: value}), f"option '{name}' accepts {value}")
    if is_weight(name):
        require(not _accepts(kind, {name: -1}), f"option '{name}' accepts a weight of -1: say Field(ge=0)")


def _pasted_back(exam: Exam) -> None:
    """The selector of each variant gives its options again."""
    for options in exam.variants:
        selector = canonical(exam.card, options)
        try:
            again = resolve(exam.card, parse(selector)[1])
        except UserError as error:
            raise Broken(f"its own selector {selector} is refused: {error}") from None
        require(again == options, f"its own selector {selector} gives other options")
