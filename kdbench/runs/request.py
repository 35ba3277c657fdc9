"""What a user asks for, and the pair that it makes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError
from pydantic.dataclasses import dataclass

from kdbench.cards import Dataset
from kdbench.errors import ArgumentError, UserError, first_problem
from kdbench.plugins import registry, suggestion
from kdbench.specs import Model, Pair, Precision, Schedule

SMOKE: dict[str, Any] = {"iterations": 4, "batch_size": 4, "warmup": 1, "validations": 1}
SECTIONS = ("schedule", "teacher_schedule", "student", "teacher")


@dataclass(frozen=True)
class Request:
    """What a user asks for; see :func:`kdbench.run`."""

    method: str
    dataset: str
    pair: str | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    schedule: Literal["default", "smoke"] = "default"
    teacher: str | None = None
    student: str | None = None
    teacher_checkpoints: tuple[Path, ...] = ()
    settings: tuple[str, ...] = ()
    precision: Precision = "fp32"
    device: str = "cpu"
    processes: int = 1
    from_scratch: bool = False
    data_root: Path | None = None


def pair_of(request: Request, dataset: Dataset) -> Pair:
    """Return the pair that was named, or the dataset's first."""
    pairs = registry().pairs_of(dataset.name)
    if request.pair is None:
        if not pairs:
            raise UserError(f"dataset '{dataset.name}' has no pair: a plugin must give one.")
        return pairs[0]
    pair = registry().pair(request.pair).value
    if pair.dataset != dataset.name:
        names = ", ".join(p.name for p in pairs)
        raise UserError(
            f"pair '{pair.name}' is for dataset '{pair.dataset}', not '{dataset.name}': choose of {names}."
        )
    return pair


def overridden(pair: Pair, request: Request) -> Pair:
    """Return the pair with a user's own models, settings and the smoke schedule."""
    values = pair.model_dump(mode="json")
    for role, reference in (("teacher", request.teacher), ("student", request.student)):
        if reference is not None:
            values[role] = own_model(reference).model_dump(mode="json")
    if request.from_scratch:
        values["pretrained"] = False
    if request.schedule == "smoke":
        values["schedule"] |= SMOKE
        values["teacher_schedule"] |= SMOKE
    for setting in request.settings:
        apply(values, setting)
    try:
        return Pair.model_validate(values)
    except ValidationError as error:
        where, why, _ = first_problem(error)
        raise ArgumentError("settings", f"{why}.", where) from error


def own_model(reference: str) -> Model:
    """Return a model from a user's config."""
    if "::" not in reference and not Path(reference).is_file():
        raise UserError(f"config '{reference}' is not a file: give a path, or mmdet::... or mmseg::...")
    return Model(config=reference)


def apply(values: dict[str, Any], setting: str) -> None:
    """Apply one ``SECTION.key=value`` to a pair's values; models' keys become edits."""
    key, equals, text = setting.partition("=")
    section, _, rest = key.strip().partition(".")
    if not equals or not rest or section not in SECTIONS:
        raise ArgumentError(
            "settings", f"write SECTION.key=value, SECTION one of {', '.join(SECTIONS)}.", setting
        )
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ArgumentError("settings", "the value is not YAML.", setting) from error
    if section in ("student", "teacher"):
        values[section]["edits"][rest] = value
    elif rest in Schedule.model_fields:
        values[section][rest] = value
    else:
        raise ArgumentError(
            "settings", f"a schedule has no '{rest}'.{suggestion(rest, Schedule.model_fields)}", setting
        )
