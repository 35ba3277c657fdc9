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
from kdbench.results.views import VIEWS, Kind, ScheduleName, TeacherView
from kdbench.specs import PLAIN, Precision

Status = Literal["done", "failed", "timed-out", "skipped"]
VERSION = 2
"""The newest ``schema_version`` that is known here."""


class _Part(BaseModel):
    """Base of a record and its parts."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class Metrics(_Part):
    """Metrics on the test split, as fractions in [0, 1]."""

    last: dict[str, float]
    """Name -> value after the last iteration: what ranks."""
    best: dict[str, int | float] = Field(default_factory=dict)
    """The same at the evaluation with the best ranking metric, and its ``iteration``; never ranks."""


class MeasuredTeacher(_Part):
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
    student_bits: int | None = Field(default=None, ge=0)
    """Bits in which the parameters of a compressed student are stored; None of any other: 32 each."""
    latency_ms: float | None = Field(default=None, ge=0)
    """Median time of the student's inference for one test image as its training ended, ms, whatever else ran then:
    records of today have ``latency`` instead."""
    gradient_share_start: float | None = Field(default=None, ge=0, le=1)
    """Part of the gradient's norm on backbone and neck that is the method's, as the training begins."""
    gradient_share_quarter: float | None = Field(default=None, ge=0, le=1)
    """The same after a quarter of the iterations."""
    gradient_share_half: float | None = Field(default=None, ge=0, le=1)
    """The same half-way."""
    timed_with: str | None = Field(default=None, pattern="^[0-9a-f]{12}$")
    """Names the trainings that took turns in one process, iteration by iteration: only the times of iterations of
    those with the same one can be compared. None for a training alone."""


class Spread(_Part):
    """Times of inference for one image, ms: of several rounds the median, the least and the largest."""

    median: float = Field(gt=0)
    low: float = Field(gt=0)
    high: float = Field(gt=0)


class Latency(_Part):
    """Times of a pair's models on the record's machine, taken in turns in a process that had its core to itself."""

    student: Spread
    teacher: Spread


class Trial(_Part):
    """Options that a tuning study tried."""

    options: dict[str, Any]
    """All of them."""
    value: float | None = Field(default=None, ge=0, le=1)
    """The ranking metric on the validation images, in [0, 1]; None where the trial failed."""


class Tuned(_Part):
    """The study that chose the options, on validation images that no ranking sees."""

    study: str = Field(pattern="^[0-9a-f]{64}$")
    """Its identity."""
    validation: str
    """The images that judged, in words."""
    trials: list[Trial]
    """All that ended, the options before tuning first."""


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
    teacher: MeasuredTeacher | None = None
    cost: Cost = Cost()
    latency: Latency | None = None
    """Of a plain or compressed student beside its teacher: what `kdbench records latency` measured; no part of the
    identity."""
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
    tuned: Tuned | None = None
    """How the method's options were chosen, where a tuning study chose them; no part of the identity."""
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
    def _view(self) -> TeacherView:
        return VIEWS[self.kind].model_validate(self.spec)

    @property
    def method(self) -> str:
        """Name of the method; ``none`` is the plain student."""
        return self._view.method

    @property
    def options(self) -> Mapping[str, Any]:
        """The method's options, defaults included."""
        return self._view.options

    @property
    def is_control(self) -> bool:
        """Whether it is of a plain student that trains longer, for comparisons at equal training time."""
        return self.method == PLAIN and "time" in self.options

    @property
    def is_plain(self) -> bool:
        """Whether it is of the plain student that all methods are compared with."""
        return self.method == PLAIN and not self.is_control

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
    def machine(self) -> str:
        """Device and kind of machine that it was made on: times of the same one can be compared."""
        return f"{self.device} on {self.host_class}"

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
            (values, "tuned"),
            (values, "latency"),
            (values, "weights_sha256"),
            (values["cost"], "student_bits"),
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
