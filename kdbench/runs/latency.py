"""Measures how long a pair's student and teacher take for one image, and adds it to the student's record."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from kdbench import devices
from kdbench.errors import ArgumentError, UserError
from kdbench.results.record import Latency, Record, Spread
from kdbench.runs.cells import AnySpec, subject_of, title
from kdbench.runs.launch import start
from kdbench.runs.plan import Plan, ensemble, plan
from kdbench.runs.provenance import host_class
from kdbench.runs.request import Request
from kdbench.runs.settings import RunSettings
from kdbench.specs import RunSpec, TeacherSpec

QUIET = 0.95
"""Part of the time that this process must have had its core for a measurement on the CPU to count."""


def measure_latency(request: Request, settings: RunSettings) -> Record:
    """Measure a student and the teacher of its pair in turns, and return the student's record with it.

    Args:
        request: The plain student, or one that a compression made: dataset, pair, seed and device.
        settings: Where records and trained weights are.

    Raises:
        UserError: If the student is another one, the record or the weights of one are missing, the record is from
            another kind of machine, or this one is busy.
    """
    made = plan(request)
    if made.cell != made.plain and made.card.kind == "distillation":
        why = "its student is the network of the plain student: measure that one."
        raise ArgumentError("method", why, made.cell.selector)
    start(request.device, made.dataset)
    record = _record(made.cell, settings)
    specs: dict[str, AnySpec] = {"student": made.cell, "teacher": teacher_of(made.plain)}
    found = _in_turns(specs, made, settings)
    spreads = {name: _spread(rounds) for name, rounds in found.items()}
    record = record.model_copy(update={"latency": Latency(**spreads)})
    settings.store.write(record)
    return record


def teacher_of(student: RunSpec) -> TeacherSpec:
    """Return the spec of the teacher of a student's pair."""
    same = ("dataset", "data", "seed", "schedule", "precision", "device", "processes")
    return ensemble(student.pair, {name: getattr(student, name) for name in same}, 1, [])[0]


def _record(spec: RunSpec, settings: RunSettings) -> Record:
    record, here = settings.store.find(spec.identity()), f"{devices.name(spec.device)} on {host_class()}"
    if record is None:
        raise UserError(f"{title(spec)} of {spec.pair.name} has no record: make it with `kdbench run` first.")
    if record.machine != here:
        whose = f"{title(spec)} of {spec.pair.name}"
        raise UserError(f"{whose} was trained on {record.machine}, and this is {here}: measure it there.")
    return record


def _in_turns(specs: dict[str, AnySpec], made: Plan, settings: RunSettings) -> dict[str, list[float]]:
    from kdbench.openmmlab.latency import in_turns, timed

    models = {}
    for name, spec in specs.items():
        subject = subject_of(spec, made, settings)
        model = subject.loaded(_weights(spec, settings))[0].to(spec.device)
        models[name] = timed(model, made.dataset, made.folder, subject.schedule)
    found = in_turns(models)
    if made.plain.device == devices.CPU and found.undisturbed < QUIET:
        raise UserError(
            f"this process had its core for {found.undisturbed:.0%} of the time: measure when nothing else runs."
        )
    return found.rounds


def _weights(spec: AnySpec, settings: RunSettings) -> Path:
    path = settings.weights(spec)
    if not path.is_file():
        raise UserError(f"{title(spec)}: {path} is missing: `kdbench run` with any method leaves it there.")
    return path


def _spread(rounds: Sequence[float]) -> Spread:
    return Spread(median=median(rounds), low=min(rounds), high=max(rounds))
