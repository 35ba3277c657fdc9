"""What one cell of a benchmark gave: one frozen, validated record, written as one JSON file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, NamedTuple

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from kdbench.errors import explain
from kdbench.results.hashes import NOTHING, Hashes, hashes
from kdbench.specs import Precision

Kind = Literal["cell", "teacher", "evaluation"]
Status = Literal["done", "failed", "timed-out", "skipped"]
ScheduleName = Literal["default", "smoke", "custom"]
TEACHERS = "teachers"
"""Stands for the pair of a dataset's teachers, which may serve several; also the name of their folder."""
EVALUATIONS = "evaluations"
"""The same for given weights that were measured, which are of no pair."""
VERSION = 2
"""The newest ``schema_version`` that is known here."""


class _Part(BaseModel):
    """Base of a record and its parts."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class _Named(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")
    name: str = Field(min_length=1)


class _TeacherView(BaseModel):
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


class _CellView(_TeacherView):
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


class _EvaluationView(_TeacherView):
    """What the leaderboards read of the spec of an evaluation of given weights."""

    pair: _Named = _Named(name=EVALUATIONS)
    method: str = "evaluation"
    selector: str = Field(min_length=1)


_VIEWS: Mapping[Kind, type[_TeacherView]] = {
    "cell": _CellView,
    "teacher": _TeacherView,
    "evaluation": _EvaluationView,
}


class Metrics(_Part):
    """Metrics on the test split, as fractions in [0, 1]."""

    last: dict[str, float]
    """Name -> value after the last iteration: what ranks."""
    best: dict[str, int | float] = Field(default_factory=dict)
    """The same at the evaluation with the best ranking metric, and its ``iteration``; never ranks."""


class Teacher(_Part):
    """The teacher a student was distilled from, as measured here."""

    identity: str
    """Hash of what it was made from."""
    config: str
    """Its OpenMMLab config."""
    weights_sha256: str
    """Hash of its weights."""
    value: float | None = Field(default=None, ge=0, le=1)
    """The ranking metric of this teacher on the same test split, in [0, 1]; None of a feature teacher."""


class Cost(_Part):
    """What the training cost; further figures may be added by name."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False, use_attribute_docstrings=True)
    __pydantic_extra__: dict[str, int | float | None] = Field(init=False)

    seconds_per_iteration: float | None = Field(default=None, ge=0)
    """Wall time of an optimizer step of this method alone, s."""
    peak_memory_mib: float | None = Field(default=None, ge=0)
    """Peak memory of the process or the device, MiB."""
    added_parameters: int | None = Field(default=None, ge=0)
    """Parameters trained beside the student, such as adapters."""
    student_parameters: int | None = Field(default=None, ge=0)
    student_flops: int | None = Field(default=None, ge=0)
    """Multiply-adds of one forward pass of the student."""
    latency_ms: float | None = Field(default=None, ge=0)
    """Median time of the student's inference for one test image, ms, on the record's device."""
    gradient_share_start: float | None = Field(default=None, ge=0, le=1)
    """Part of the gradient's norm on backbone and neck that is the method's, as the training begins."""
    gradient_share_quarter: float | None = Field(default=None, ge=0, le=1)
    """The same after a quarter of the iterations."""
    gradient_share_half: float | None = Field(default=None, ge=0, le=1)
    """The same half-way."""
    timed_with: str | None = Field(default=None, pattern="^[0-9a-f]{12}$")
    """Names the trainings that took turns in one process, iteration by iteration: only the times of iterations of
    those with the same one can be compared. None for a training alone."""


class Shared(NamedTuple):
    """A pair that is parsed already: a context for validating a record whose spec has a stand-in for it.

    Attributes:
        stand_in: What the spec must have in the pair's place.
        value: The pair.
        text: The pair as canonical JSON, without labels.
    """

    stand_in: dict[str, Any]
    value: dict[str, Any]
    text: str


class Made(_Part):
    """When, where and how: the only fields that depend on the clock or the path."""

    clock: str
    """When it ended, ISO 8601."""
    path: str
    """The run's working directory."""
    command: str
    """The command that made it."""


class Record(_Part):
    """The result of one cell (dataset x pair x method x seed), of one teacher, or of weights that were given.

    Raises:
        pydantic.ValidationError: When parts contradict each other: an identity that is not the spec's hash, a
            done record without its metric, a failure without a reason.
    """

    schema_version: Literal[2] = 2
    kind: Kind
    identity: str = Field(pattern="^[0-9a-f]{64}$")
    """:func:`kdbench.specs.digest` of ``spec`` without its labels."""
    spec: dict[str, Any]
    """JSON dump of the run's spec."""
    status: Status
    reason: str | None = None
    """Why it is not done."""
    metrics: Metrics | None = None
    metric: str
    """Name of the metric that ranks."""
    higher_is_better: bool = True
    """Whether more of it is better."""
    teacher: Teacher | None = None
    cost: Cost = Cost()
    curve: list[dict[str, int | float]] = Field(default_factory=list)
    """One dict an evaluation: ``iteration`` and the metrics."""
    versions: dict[str, str] = Field(default_factory=dict)
    device: str
    host_class: str
    """What kind of machine, without its name: comparable timings have the same."""
    notes: list[str] = Field(default_factory=list)
    plugin: str = ""
    """Distribution and version of the method that had a part in it."""
    code: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    """Hash of that method's source, see :mod:`kdbench.source`; None where it has no part, or is unknown."""
    made: Made
    weights_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    """Hash of a teacher's weights; None for a student, and where an older kdbench wrote it."""
    reported_by: str | None = Field(
        default=None, max_length=100, pattern=r"^[^\s\p{C}]([^\p{C}]*[^\s\p{C}])?$"
    )
    """Who reports it, where somebody else does (:mod:`kdbench.results.contributed`); no part of the identity."""

    @field_validator("spec")
    @classmethod
    def _with_its_pair(cls, spec: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if isinstance(info.context, Shared):
            if spec.get("pair") != info.context.stand_in:
                raise ValueError("the stand-in is not in the place of the pair")
            spec["pair"] = info.context.value
        return spec

    @model_validator(mode="after")
    def _is_coherent(self, info: ValidationInfo) -> Record:
        shared = info.context
        texts = {"pair": shared.text} if isinstance(shared, Shared) else NOTHING
        self.__dict__["_hashes"] = hashes(self.spec, texts)
        if self.identity != self._hashes.identity:
            raise ValueError("identity is not the hash of the spec")
        try:
            _ = self._view
        except ValidationError as error:
            raise ValueError(f"spec: {explain(error)}") from None
        if any("iteration" not in point for point in self.curve):
            raise ValueError("a point of the curve has no iteration")
        if self.status != "done":
            if not self.reason:
                raise ValueError(f"status '{self.status}' needs a reason")
        elif self.metrics is None or not 0 <= self.metrics.last.get(self.metric, -1) <= 1:
            raise ValueError(f"a done record needs its last {self.metric}, a fraction in [0, 1]")
        return self

    @cached_property
    def _hashes(self) -> Hashes:
        return hashes(self.spec)

    @property
    def recipe(self) -> str:
        """Hash of all that must be equal for two cells to be comparable: data, models, schedule, precision."""
        return self._hashes.recipe

    @cached_property
    def _view(self) -> _TeacherView:
        return _VIEWS[self.kind].model_validate(self.spec)

    @property
    def method(self) -> str:
        """Name of the method; ``none`` is the plain student."""
        return self._view.method

    @property
    def options(self) -> Mapping[str, Any]:
        """The method's options, defaults included."""
        return self._view.options

    @property
    def options_text(self) -> str:
        """The same as canonical JSON: equal for equal options of equal types."""
        return self._hashes.options

    @property
    def selector(self) -> str:
        """The method with its options, as typed: ``mimic[weight=2]``."""
        return self._view.selector

    def called(self, selector: str) -> Record:
        """Return the same record under another selector, which is a label."""
        if selector == self.selector:
            return self
        renamed = self.model_copy(update={"spec": {**self.spec, "selector": selector}})
        renamed.__dict__.pop("_view", None)
        return renamed

    @property
    def revision(self) -> int:
        """Revision of the method; 0 for a teacher."""
        return self._view.revision

    @property
    def precision(self) -> Precision:
        """What it was trained in."""
        return self._view.precision

    @property
    def device_class(self) -> str:
        """Class of the device that it was trained on: ``cpu``, ``cuda``."""
        return self._view.device

    @property
    def dataset(self) -> str:
        """Name of the dataset."""
        return self._view.dataset

    @property
    def pair_name(self) -> str:
        """Name of the teacher-student pair."""
        return self._view.pair.name

    @property
    def seed(self) -> int:
        """Seed of the run."""
        return self._view.seed

    @property
    def schedule(self) -> ScheduleName:
        """Which schedule: ``smoke`` never ranks."""
        return self._view.schedule

    @property
    def teacher_identity(self) -> str | None:
        """Identity of the teacher that the spec asks for."""
        return self._view.teacher

    @property
    def done(self) -> bool:
        """Whether it counts as a result."""
        return self.status == "done"

    @property
    def sign(self) -> int:
        """1 where more of its metric is better, -1 where less is: what differences are multiplied by."""
        return 1 if self.higher_is_better else -1

    @property
    def score(self) -> float | None:
        """The ranking metric after the last iteration, in [0, 1]; None unless done."""
        return self.metrics.last[self.metric] if self.done and self.metrics is not None else None

    def to_json(self) -> str:
        """Canonical text of the record's file."""
        values = self.model_dump(mode="json", exclude={"higher_is_better"} if self.higher_is_better else None)
        for part, name in (
            (values, "reported_by"),
            (values, "weights_sha256"),
            (values["cost"], "latency_ms"),
            (values["cost"], "timed_with"),
        ):
            if part[name] is None:
                del part[name]  # files that are older than the field keep their text
        return json.dumps(values, indent=1, sort_keys=True, allow_nan=False) + "\n"


def best_point(
    curve: Sequence[Mapping[str, float]], metric: str, *, higher_is_better: bool
) -> dict[str, float]:
    """Return the evaluation with the best metric, the first of equals; one without the metric is the worst.

    Args:
        curve: The evaluations, at least one.
        metric: Name of the metric.
        higher_is_better: Whether more of it is better.
    """
    sign = 1 if higher_is_better else -1
    best: Mapping[str, float] = max(
        curve, key=lambda point: sign * point.get(metric, float(not higher_is_better))
    )
    return dict(best)


def newer(error: ValidationError) -> str | None:
    """In one line, that a record with this problem is of a newer kdbench; None where it is not.

    A newer one has a higher ``schema_version``, or is good but for fields that are not known here.
    """
    found = error.errors(include_url=False, include_context=False)
    version = next((one["input"] for one in found if one["loc"] == ("schema_version",)), VERSION)
    if isinstance(version, int) and version > VERSION:
        what = f"schema_version {version}, known here is {VERSION}"
    elif all(one["type"] == "extra_forbidden" for one in found):
        what = f"field {'.'.join(map(str, found[0]['loc']))} is not known here"
    else:
        return None
    return f"written by a newer kdbench ({what}): update kdbench to use it"


def _older(error: ValidationError) -> str | None:
    """In one line, that a record with this problem is of an older kdbench; None where it is not."""
    for one in error.errors(include_url=False, include_context=False):
        version = one["input"]
        if one["loc"] == ("schema_version",) and version in range(1, VERSION):
            return (
                f"written by an older kdbench (schema_version {version}, today's is {VERSION}): run it again"
            )
    return None


def complaint(error: ValidationError) -> str:
    """Say what is wrong with a record's file, in one line."""
    return newer(error) or _older(error) or explain(error)
