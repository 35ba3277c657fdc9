"""What a method's options may be in a tuning study: a range or a set of choices each, from the card alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import Field
from pydantic.fields import FieldInfo

from kdbench.cards import Options
from kdbench.specs import Spec

FACTOR = 10
"""A number is searched from a tenth to ten times what it is without tuning."""
SIGNIFICANT = 3
"""Significant digits of a number that is tried: a selector stays readable."""


class Range(Spec):
    """Numbers from ``low`` to ``high``, both among them."""

    kind: Literal["float", "int"]
    low: float
    high: float
    log: bool
    """Even on a logarithmic scale."""

    def rounded(self, value: float) -> float | int:
        """Round a value of the range to three significant digits, unless those lie outside."""
        if self.kind == "int":
            return round(value)
        near = float(f"{value:.{SIGNIFICANT}g}")
        return near if self.low <= near <= self.high else value


class Choice(Spec):
    """One of some values."""

    kind: Literal["choice"] = "choice"
    values: tuple[str | bool | int | float, ...] = Field(min_length=1)

    def rounded(self, value: Any) -> Any:
        """Return the value unchanged."""
        return value


Dimension = Range | Choice
Space = dict[str, Dimension]


def space_of(
    options: Options, fixed: frozenset[str], usable: Callable[[Options], bool] = lambda _: True
) -> tuple[Space, dict[str, str]]:
    """Return the options that a study searches, and why the others stay as they are.

    A positive number is searched from a tenth to ten times its value here, within its bounds, on a logarithmic
    scale; any other number within its bounds, evenly, if it has both; booleans and literals over all values that
    are usable. An option that is unset stays so unless the card has a typical value.

    Args:
        options: The method's options as the selector gives them.
        fixed: Names of those that the selector gives; ``variant`` is always fixed.
        usable: Whether a method with such options can be trained at all on the pair.

    Returns:
        Name -> dimension, and name -> reason.
    """
    space: Space = {}
    left: dict[str, str] = {}
    for name, field in type(options).model_fields.items():
        dimension = _searched(name, field, options, fixed, usable)
        if isinstance(dimension, str):
            left[name] = dimension
        else:
            space[name] = dimension
    return space, left


def tried(options: Options, chosen: Mapping[str, Any]) -> Options:
    """Return the options with what was chosen, leaving out what has no effect then.

    Raises:
        pydantic.ValidationError: If the options do not go together.
    """
    made = type(options).model_validate(options.model_dump() | dict(chosen))
    kept = {name: value for name, value in chosen.items() if name not in made.settled}
    return type(options).model_validate(options.model_dump() | kept)


def _searched(
    name: str,
    field: FieldInfo,
    options: Options,
    fixed: frozenset[str],
    usable: Callable[[Options], bool],
) -> Dimension | str:
    """Return an option's dimension, or why it has none."""
    if name == "variant" or name in fixed:
        return "given by the selector"
    if name in options.settled:
        return "left alone by the method's card"
    kind, value = _kind(field.annotation), getattr(options, name)
    value = options.typical.get(name) if value is None else value
    if kind is bool:
        return _choice(name, (False, True), options, usable)
    if get_origin(kind) is Literal:
        return _choice(name, get_args(kind), options, usable)
    if kind not in (int, float):
        return "neither a number nor a choice"
    if value is None:
        return "unset: it has no scale"
    return _range(kind, value, field) or "not positive, and without bounds: it has no scale"


def _kind(annotation: Any) -> Any:
    """Return the type of an option, without the ``None`` of one that may be unset."""
    parts = [part for part in get_args(annotation) if part is not NoneType]
    union = NoneType in get_args(annotation)
    return parts[0] if union and len(parts) == 1 else annotation


def _choice(
    name: str, values: tuple[Any, ...], options: Options, usable: Callable[[Options], bool]
) -> Choice | str:
    def works(value: Any) -> bool:
        return usable(options.model_copy(update={name: value}))

    working = tuple(value for value in values if works(value))
    return Choice(values=working) if len(working) > 1 else "only one value can be used on this pair"


def _range(kind: type[int] | type[float], value: float, field: FieldInfo) -> Range | None:
    lowest, highest = _bounds(kind, field)
    if value > 0:
        low, high = max(value / FACTOR, lowest), min(value * FACTOR, highest)
    else:
        low, high = lowest, highest
    if not (math.isfinite(low) and math.isfinite(high)):
        return None
    if kind is int:
        low, high = (max(1, math.ceil(low)) if value > 0 else math.ceil(low)), math.floor(high)
        return Range(kind="int", low=low, high=high, log=value > 0)
    return Range(kind="float", low=low, high=high, log=value > 0)


def _bounds(kind: type[int] | type[float], field: FieldInfo) -> tuple[float, float]:
    """Return the least and the largest value that an option may have; infinite where there is no bound."""
    limits = field.metadata
    low = [float(limit.ge) for limit in limits if isinstance(limit, Ge)]  # type: ignore[arg-type]
    low += [_beyond(kind, float(limit.gt), 1) for limit in limits if isinstance(limit, Gt)]  # type: ignore[arg-type]
    high = [float(limit.le) for limit in limits if isinstance(limit, Le)]  # type: ignore[arg-type]
    high += [_beyond(kind, float(limit.lt), -1) for limit in limits if isinstance(limit, Lt)]  # type: ignore[arg-type]
    return max(low, default=-math.inf), min(high, default=math.inf)


def _beyond(kind: type[int] | type[float], bound: float, side: int) -> float:
    """Return the nearest value above (1) or below (-1) a bound that is itself not allowed."""
    return bound + side if kind is int else math.nextafter(bound, side * math.inf)
