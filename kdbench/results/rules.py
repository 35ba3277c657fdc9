"""The rules for a single record: it must not be implausible or contradict itself."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from kdbench.devices import CPU
from kdbench.errors import explain
from kdbench.plugins import registry
from kdbench.results.naming import contradiction
from kdbench.results.record import Kind, Record, best_point
from kdbench.results.tuned import is_best
from kdbench.specs import (
    PLAIN,
    EvaluationSpec,
    RunSpec,
    StagedTeacherSpec,
    TeacherSpec,
    is_feature_network,
    training_time,
)
from kdbench.text import LONGEST, printable, unfit

FREE = ("made", "spec")
"""Parts of a record whose texts may be long: a command, the edits of a model."""
LONG = 10 * LONGEST
"""Most letters of their texts."""
NEEDED = ("python", "torch")
"""Packages whose versions every record has."""
POSITIVE = (
    *("seconds_per_iteration", "peak_memory_mib", "latency_ms"),
    *("student_parameters", "student_flops", "student_bits"),
)
"""Costs that are above 0 if they were measured."""
SPECS: Mapping[Kind, type[RunSpec | TeacherSpec | EvaluationSpec]] = {
    "cell": RunSpec,
    "teacher": TeacherSpec,
    "evaluation": EvaluationSpec,
}


def problems(record: Record) -> list[str]:
    """Return what is implausible or contradictory in a record; nothing if all is well."""
    found = [*_texts(record), *_spec(record)]
    rules = (_names, _result, _cost, _teacher, _tuning, _provenance)
    return found or [problem for rule in rules for problem in rule(record)]


def _texts(record: Record) -> Iterator[str]:
    """Yield each text of a record, keys included, that cannot be printed or is too long."""
    for part, value in record.model_dump(mode="json").items():
        most = LONG if part in FREE else LONGEST
        for where, text in _strings(part, value):
            if fault := unfit(text, most):
                yield f"{where}: {fault}"


def _strings(where: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield where, key
            yield from _strings(f"{where}.{printable(key, 40)}", inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(where, inner)


def _spec(record: Record) -> Iterator[str]:
    kind = SPECS[record.kind]
    if record.kind == "teacher" and "stage" in record.spec:
        kind = StagedTeacherSpec
    try:
        spec = kind.model_validate_json(json.dumps(record.spec), strict=True)
    except ValidationError as error:
        yield f"spec: {explain(error)}"
        return
    if re.fullmatch("[0-9a-f]{64}", spec.data) is None:
        yield "spec: data is not a fingerprint of a dataset (64 hex digits)"
    if record.is_control and not 1 < training_time(record.method, record.options) <= 100:
        yield f"spec: the time of a control is over 1 and at most 100, not {record.options['time']!r}"


def _names(record: Record) -> Iterator[str]:
    """Check dataset, metric, method and selector, as far as they are known here."""
    known = registry().datasets.get(record.dataset)
    if known is not None and record.metric != known.value.metric:
        yield f"metric: {record.dataset} is ranked by {known.value.metric}, not by {record.metric}"
    metric = registry().metrics.get(record.metric)
    if metric is not None and record.higher_is_better != metric.value.higher_is_better:
        yield f"higher_is_better: it is {record.higher_is_better}, and not so of {record.metric}"
    if record.kind != "cell":
        return
    if record.spec["pair"]["dataset"] != record.dataset:
        yield f"spec: pair '{record.pair_name}' is for another dataset than {record.dataset}"
    if re.fullmatch(r"\S+ \S+", record.plugin) is None:
        yield f"plugin '{record.plugin}' is not a distribution with its version"
    if wrong := contradiction(record):
        yield f"spec: {wrong}"


def _result(record: Record) -> Iterator[str]:
    """Check that a done record's metrics agree with its curve."""
    if not record.done or record.metrics is None:
        if record.metrics is not None or record.curve:
            yield f"status '{record.status}' contradicts its metrics or curve"
        return
    if not record.curve:
        yield "curve: it is empty"
        return
    yield from _curve(record)
    last = {name: value for name, value in record.curve[-1].items() if name != "iteration"}
    if last != record.metrics.last:
        yield "metrics.last is not the curve's last point"
    best = best_point(record.curve, record.metric, higher_is_better=record.higher_is_better)
    if best != record.metrics.best:
        yield "metrics.best is not the curve's best point"


def _curve(record: Record) -> Iterator[str]:
    steps = [point["iteration"] for point in record.curve]
    if any(not isinstance(step, int) or step < 0 for step in steps) or sorted(set(steps)) != steps:
        yield "curve: its iterations do not increase"
    if steps[-1] != _iterations(record.spec):
        yield f"curve: it ends at iteration {steps[-1]}, the schedule at {_iterations(record.spec)}"
    for point in record.curve:
        for name, value in point.items():
            if name != "iteration" and not 0 <= value <= 1:
                yield f"curve: {name} {value} at iteration {point['iteration']} is not a fraction in [0, 1]"


def _iterations(spec: dict[str, Any]) -> int:
    """Return the iteration at which a training ends: 0 for a given checkpoint, which is only measured."""
    if spec.get("checkpoint") is not None:
        return 0
    if "recipe" in spec:
        return int(spec["recipe"]["iterations"])
    iterations = int(spec["pair"]["schedule"]["iterations"])
    return round(training_time(spec["method"], spec["options"]) * iterations)


def _cost(record: Record) -> Iterator[str]:
    for name, value in record.cost.model_dump(exclude={"timed_with"}).items():
        if value is not None and (value < 0 or (value == 0 and name in POSITIVE)):
            yield f"cost: {name} {value} is not positive"


def _teacher(record: Record) -> Iterator[str]:
    if record.kind != "cell":
        return
    if (record.method == PLAIN) != (record.teacher_identity is None):
        yield "teacher: every method has one, and the plain student none"
    if record.teacher is None:
        if record.done and record.method != PLAIN:
            yield "teacher: missing"
        return
    if record.method == PLAIN:
        yield "teacher: the plain student has none"
    if (record.teacher.value is None) != is_feature_network(record.teacher.config):
        yield "teacher: every teacher has a value, and one that gives feature maps alone none"
    if re.fullmatch("[0-9a-f]{64}", record.teacher.weights_sha256) is None:
        yield "teacher: weights_sha256 is not a hash (64 hex digits)"


def _tuning(record: Record) -> Iterator[str]:
    if record.tuned is not None and not is_best(record.options, record.tuned, record.sign):
        yield "tuned: the options are not those of the best trial"


def _provenance(record: Record) -> Iterator[str]:
    """Check the software, machine, time and command of a result."""
    needed = NEEDED if record.reported_by is None else (*NEEDED, "kdbench")
    for name in needed:
        if not record.versions.get(name, "").strip():
            yield f"versions: no version of {name}"
    if not record.device.strip() or not record.host_class.strip():
        yield "device or host_class: empty"
    if (record.device == CPU) != (record.device_class == CPU):
        yield f"device: '{record.device}' is not of the spec's class, {record.device_class}"
    if record.made.command.split()[:1] != ["kdbench"]:
        yield "made: the command is none of kdbench"
    try:
        datetime.datetime.fromisoformat(record.made.clock.replace("Z", "+00:00"))
    except ValueError:
        yield f"made: the clock '{record.made.clock}' is not an ISO 8601 time"
