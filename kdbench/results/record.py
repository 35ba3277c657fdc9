"""The result of one cell of a benchmark: a frozen, validated record, written as one JSON file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kdbench.errors import explain
from kdbench.specs import PLAIN, Precision, canonical, digest, unlabelled

Kind = Literal["cell", "teacher", "evaluation"]
Status = Literal["done", "failed", "timed-out", "skipped"]
ScheduleName = Literal["default", "smoke", "custom"]
TEACHERS = "teachers"
"""In the place of a pair's name: the teachers of a dataset, each of which may serve several pairs."""
OF_THE_METHOD = frozenset({"method", "options", "revision", "seed", "teacher"})
"""Keys of a spec in which two cells of one ranking may differ."""
_COMMON = {
    **{"seed": 0, "schedule": "default", "revision": 0, "options": {}},
    **{"precision": "fp32", "device": "cpu"},
}
DEFAULTS: Mapping[Kind, Mapping[str, Any]] = {
    "cell": {},
    "teacher": {**_COMMON, "pair": {"name": TEACHERS}, "method": "teacher", "selector": "teacher"},
    "evaluation": {**_COMMON, "pair": {"name": "evaluations"}, "method": "evaluation"},
}
"""Kind of record -> what its spec may leave out, of the keys that leaderboards read."""


class _Part(BaseModel):
    """Base class of a record and its parts."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class Metrics(_Part):
    """Metrics on the test split, as fractions in [0, 1]."""

    last: dict[str, float]
    """Name -> value after the last iteration, which ranks."""
    best: dict[str, int | float] = Field(default_factory=dict)
    """Name -> value at the evaluation with the best ranking metric, and its ``iteration``; it never ranks."""


class MeasuredTeacher(_Part):
    """The teacher a student was distilled from, as measured here."""

    identity: str
    """Hash of its spec."""
    config: str
    """Its OpenMMLab config."""
    weights_sha256: str
    """Hash of its weights."""
    value: float | None = Field(default=None, ge=0, le=1)
    """The ranking metric of this teacher on the same test split, in [0, 1]; None for a feature network."""


class Cost(_Part):
    """The costs of a training; further figures may be added by name."""

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
    """Median time of the student's inference for one test image at the end of its training, ms, whatever else ran
    then; only in older records: newer ones have ``latency``."""
    gradient_share_start: float | None = Field(default=None, ge=0, le=1)
    """Share of the method in the gradient's norm on backbone and neck, at the start of the training."""
    gradient_share_quarter: float | None = Field(default=None, ge=0, le=1)
    """The same share after a quarter of the iterations."""
    gradient_share_half: float | None = Field(default=None, ge=0, le=1)
    """The same share after half of the iterations."""
    timed_with: str | None = Field(default=None, pattern="^[0-9a-f]{12}$")
    """ID of the trainings that took turns in one process, iteration by iteration: only times of iterations with the
    same ID can be compared. None for a training by itself."""


class Spread(_Part):
    """Median, least and largest time of inference for one image over several rounds, ms."""

    median: float = Field(gt=0)
    low: float = Field(gt=0)
    high: float = Field(gt=0)


class Latency(_Part):
    """Times of a pair's models on the record's machine, measured in turns in a process with a core to itself."""

    student: Spread
    teacher: Spread


class Trial(_Part):
    """A trial of a tuning study."""

    options: dict[str, Any]
    """All options of the method."""
    value: float | None = Field(default=None, ge=0, le=1)
    """The ranking metric on the validation images, in [0, 1]; None if the trial failed."""


class Tuned(_Part):
    """The tuning study that chose the options, on validation images that no ranking uses."""

    study: str = Field(pattern="^[0-9a-f]{64}$")
    """Its identity."""
    validation: str
    """The validation images, in words."""
    trials: list[Trial]
    """All trials that ended; the first has the options before tuning."""


class Made(_Part):
    """When, where and how a record was made: the only fields that depend on the clock or the path."""

    clock: str
    """When the run ended, ISO 8601."""
    path: str
    """The run's working directory."""
    command: str
    """The command that was run."""


class _Named(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")
    name: str = Field(min_length=1)


class _View(BaseModel):
    """What leaderboards read of a spec."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    dataset: str = Field(min_length=1)
    pair: _Named
    seed: int
    schedule: ScheduleName
    method: str = Field(min_length=1)
    selector: str = Field(min_length=1)
    revision: int
    options: dict[str, Any]
    teacher: str | None = None
    precision: Precision
    device: str


class Record(_Part):
    """The result of one cell (dataset x pair x method x seed), of one teacher, or of given weights.

    Raises:
        pydantic.ValidationError: If parts contradict each other, such as an identity that is not the spec's hash, a
            done record without its metric, or a failure without a reason.
    """

    schema_version: Literal[2] = 2
    kind: Kind
    identity: str = Field(pattern="^[0-9a-f]{64}$")
    """:func:`kdbench.specs.digest` of ``spec`` without its labels."""
    spec: dict[str, Any]
    """JSON dump of the run's spec."""
    status: Status
    reason: str | None = None
    """Why the run is not done."""
    metrics: Metrics | None = None
    metric: str
    """Name of the metric that ranks."""
    higher_is_better: bool = True
    """Whether more of it is better."""
    teacher: MeasuredTeacher | None = None
    cost: Cost = Cost()
    latency: Latency | None = None
    """For a plain or compressed student: its latency and its teacher's by `kdbench records latency`; no part of
    the identity."""
    curve: list[dict[str, int | float]] = Field(default_factory=list)
    """A dict for each evaluation: ``iteration`` and the metrics."""
    versions: dict[str, str] = Field(default_factory=dict)
    device: str
    host_class: str
    """Kind of machine, without its name; timings are comparable only on the same kind."""
    notes: list[str] = Field(default_factory=list)
    plugin: str = ""
    """Distribution and version of the method's plugin."""
    code: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    """Hash of the method's source, see :mod:`kdbench.source`; None without a method, or if it is unknown."""
    tuned: Tuned | None = None
    """The tuning study that chose the method's options, if one did; no part of the identity."""
    made: Made
    weights_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    """Hash of a teacher's weights; None for a student, and in records of an older kdbench."""
    reported_by: str | None = Field(
        default=None, max_length=100, pattern=r"^[^\s\p{C}]([^\p{C}]*[^\s\p{C}])?$"
    )
    """Who reports the record (:mod:`kdbench.results.contributed`); None for an own one. No part of the identity."""

    @model_validator(mode="after")
    def _is_coherent(self) -> Record:
        if self.identity != digest(unlabelled(self.spec)):
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
    def recipe(self) -> str:
        """Hash of all that must be equal for two cells to be comparable: data, models, schedule, precision."""
        spec = unlabelled(self.spec)
        return digest({key: value for key, value in spec.items() if key not in OF_THE_METHOD})

    @cached_property
    def _view(self) -> _View:
        return _View.model_validate({**DEFAULTS[self.kind], **self.spec})

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
        """Whether this is a plain student that trains longer, for comparisons at equal training time."""
        return self.method == PLAIN and "time" in self.options

    @property
    def is_plain(self) -> bool:
        """Whether this is the plain student with which all methods are compared."""
        return self.method == PLAIN and not self.is_control

    @property
    def options_text(self) -> str:
        """The options as canonical JSON: equal for equal options of equal types."""
        return canonical(self.spec.get("options", {}))

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
        """The precision of the training."""
        return self._view.precision

    @property
    def device_class(self) -> str:
        """The class of the training's device: ``cpu``, ``cuda``."""
        return self._view.device

    @property
    def machine(self) -> str:
        """Device and kind of machine; times are comparable only on the same one."""
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
        """Name of the schedule; ``smoke`` never ranks."""
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
        """1 if more of the ranking metric is better, -1 if less is: the factor of differences."""
        return 1 if self.higher_is_better else -1

    @property
    def score(self) -> float | None:
        """The ranking metric after the last iteration, in [0, 1]; None unless done."""
        return self.metrics.last[self.metric] if self.done and self.metrics is not None else None

    def to_json(self) -> str:
        """Return the canonical text of the record's file."""
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
                del part[name]  # a file that is older than the field keeps its text
        return json.dumps(values, indent=1, sort_keys=True, allow_nan=False) + "\n"


def best_point(
    curve: Sequence[Mapping[str, float]], metric: str, *, higher_is_better: bool
) -> dict[str, float]:
    """Return the evaluation with the best metric, the first of equal ones; one without the metric is the worst.

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
