"""What the leaderboards read of the spec in a record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from kdbench.specs import Precision

Kind = Literal["cell", "teacher", "evaluation"]
ScheduleName = Literal["default", "smoke", "custom"]
TEACHERS = "teachers"
"""Stands for the pair of a dataset's teachers, which may serve several; also the name of their folder."""
EVALUATIONS = "evaluations"
"""The same for given weights that were measured, which are of no pair."""


class _Named(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")
    name: str = Field(min_length=1)


class TeacherView(BaseModel):
    """What the leaderboards read of a teacher's spec; a teacher may serve several pairs."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    dataset: str = Field(min_length=1)
    pair: _Named = _Named(name=TEACHERS)
    seed: int = 0
    schedule: ScheduleName = "default"
    method: str = "teacher"
    selector: str = "teacher"
    revision: int = 0
    options: dict[str, Any] = Field(default_factory=dict)
    teacher: str | None = None
    precision: Precision = "fp32"
    device: str = "cpu"


class CellView(TeacherView):
    """What the leaderboards read of a cell's spec: nothing may be missing."""

    pair: _Named
    seed: int
    schedule: ScheduleName
    method: str = Field(min_length=1)
    selector: str = Field(min_length=1)
    revision: int
    options: dict[str, Any]
    precision: Precision
    device: str


class EvaluationView(TeacherView):
    """What the leaderboards read of the spec of an evaluation of given weights."""

    pair: _Named = _Named(name=EVALUATIONS)
    method: str = "evaluation"
    selector: str = Field(min_length=1)


VIEWS: Mapping[Kind, type[TeacherView]] = {
    "cell": CellView,
    "teacher": TeacherView,
    "evaluation": EvaluationView,
}
