"""What must hold of a record that somebody else made: everything in it that another part of it tells."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from kdbench.devices import CPU
from kdbench.errors import UserError, explain
from kdbench.plugins import registry
from kdbench.results.record import Record
from kdbench.selectors import canonical, parse
from kdbench.specs import PLAIN, RunSpec, StagedTeacherSpec, TeacherSpec

NEEDED = ("python", "torch")
"""Versions that every record has."""
POSITIVE = ("seconds_per_iteration", "peak_memory_mib", "student_parameters", "student_flops", "latency_ms")
"""Costs that are above 0 where they were measured."""


def problems(record: Record) -> list[str]:
    """What is implausible or contradicts itself in a record; empty where all is well."""
    found = list(_of_the_spec(record))
    if not found:
        for rule in (_of_the_names, _of_the_result, _of_the_cost, _of_the_teacher, _of_the_origin):
            found += rule(record)
    return found


def _of_the_spec(record: Record) -> Iterator[str]:
    kind: type[RunSpec | TeacherSpec] = RunSpec
    if record.kind == "teacher":
        kind = StagedTeacherSpec if "stage" in record.spec else TeacherSpec
    try:
        spec = kind.model_validate_json(json.dumps(record.spec), strict=True)
    except ValidationError as error:
        yield f"spec: {explain(error)}"
        return
    if spec.seed < 0:
        yield f"spec: seed {spec.seed} is negative"
    if re.fullmatch("[0-9a-f]{64}", spec.data) is None:
        yield "spec: data is no fingerprint of a dataset (64 hex digits)"


def _of_the_names(record: Record) -> Iterator[str]:
    """Dataset, metric, method and selector, as far as they are known here."""
    known = registry().datasets.get(record.dataset)
    if known is not None and record.metric != known.value.metric:
        yield f"metric: {record.dataset} is ranked by {known.value.metric}, not by {record.metric}"
    if record.kind == "teacher":
        return
    if record.spec["pair"]["dataset"] != record.dataset:
        yield f"spec: pair '{record.pair_name}' is for another dataset than {record.dataset}"
    if re.fullmatch(r"\S+ \S+", record.plugin) is None:
        yield f"plugin '{record.plugin}' is no distribution with its version"
    try:
        named = parse(record.selector)[0]
    except UserError as error:
        yield f"spec: {error}"
        return
    if named != record.method:
        yield f"spec: selector '{record.selector}' is not of method '{record.method}'"
    else:
        yield from _of_the_options(record)


def _of_the_options(record: Record) -> Iterator[str]:
    """The selector says the options: it can be checked where this version of the method is installed."""
    offer = registry().methods.get(record.method)
    if offer is None or record.plugin != f"{offer.plugin.distribution} {offer.plugin.version}":
        return
    try:
        meant = offer.value.options.model_validate(dict(record.options))
    except ValidationError as error:
        yield f"spec: options: {explain(error)}"
        return
    if canonical(offer.value, meant) != record.selector:
        yield f"spec: these options are '{canonical(offer.value, meant)}', not '{record.selector}'"


def _of_the_result(record: Record) -> Iterator[str]:
    """A done record tells its result twice, as metrics and as the curve's last and best points."""
    if not record.done or record.metrics is None:
        if record.metrics is not None or record.curve:
            yield f"status '{record.status}' contradicts its metrics or curve"
        return
    if not record.curve:
        yield "curve: it is empty"
        return
    yield from _of_the_curve(record)
    last = {name: value for name, value in record.curve[-1].items() if name != "iteration"}
    if last != record.metrics.last:
        yield "metrics.last is not the curve's last point"
    best = max(record.curve, key=lambda point: point.get(record.metric, 0.0))
    if best != record.metrics.best:
        yield "metrics.best is not the curve's best point"


def _of_the_curve(record: Record) -> Iterator[str]:
    steps = [point["iteration"] for point in record.curve]
    if any(not isinstance(step, int) or step < 0 for step in steps) or sorted(set(steps)) != steps:
        yield "curve: its iterations do not increase"
    if steps[-1] != _iterations(record.spec):
        yield f"curve: it ends at iteration {steps[-1]}, the schedule at {_iterations(record.spec)}"
    for point in record.curve:
        for name, value in point.items():
            if name != "iteration" and not 0 <= value <= 1:
                yield f"curve: {name} {value} at iteration {point['iteration']} is no fraction in [0, 1]"


def _iterations(spec: dict[str, Any]) -> int:
    """Where a training ends; a given checkpoint is only measured."""
    schedule = spec["recipe"] if "recipe" in spec else spec["pair"]["schedule"]
    return 0 if spec.get("checkpoint") is not None else int(schedule["iterations"])


def _of_the_cost(record: Record) -> Iterator[str]:
    for name, value in record.cost.model_dump(exclude={"timed_with"}).items():
        if value is not None and (value < 0 or (value == 0 and name in POSITIVE)):
            yield f"cost: {name} {value} is not positive"


def _of_the_teacher(record: Record) -> Iterator[str]:
    if record.kind == "teacher":
        return
    if (record.method == PLAIN) != (record.teacher_identity is None):
        yield "teacher: every method has one, and the plain student none"
    if record.teacher is None:
        if record.done and record.method != PLAIN:
            yield "teacher: missing"
        return
    if record.method == PLAIN:
        yield "teacher: the plain student has none"
    if re.fullmatch("[0-9a-f]{64}", record.teacher.weights_sha256) is None:
        yield "teacher: weights_sha256 is no hash (64 hex digits)"


def _of_the_origin(record: Record) -> Iterator[str]:
    """Provenance: with what, on what, when and how it was made."""
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
        yield f"made: the clock '{record.made.clock}' is no ISO 8601 time"
