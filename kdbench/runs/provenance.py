"""Makes records with their provenance: software, machine, command."""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path

from kdbench import devices
from kdbench.dataset_cards import MetricCard
from kdbench.plugins import registry
from kdbench.results.environment import PACKAGES
from kdbench.results.record import Cost, Kind, Made, MeasuredTeacher, Metrics, Record, Tuned, best_point
from kdbench.runs.plan import stored
from kdbench.specs import EvaluationSpec, RunSpec, TeacherSpec
from kdbench.text import LONGEST, line, printable

Curve = Sequence[Mapping[str, float]]


def record_of(
    spec: RunSpec | TeacherSpec | EvaluationSpec,
    metric: str,
    work_dir: Path,
    *,
    reason: str | None = None,
    curve: Curve = (),
    cost: Mapping[str, int | float | str | None] | None = None,
    teacher: MeasuredTeacher | None = None,
    notes: Sequence[str] = (),
    plugin: str = "",
    code: str | None = None,
    command: str = "",
    device: str | None = None,
    weights: str | None = None,
    tuned: Tuned | None = None,
) -> Record:
    """Return the record of a training or evaluation that has just ended in this process.

    Args:
        spec: What was run.
        metric: The metric that ranks.
        work_dir: The run's folder.
        reason: Why it failed; None if it is done.
        curve: Metrics of each evaluation, in order; empty if it failed.
        cost: Figures of the record's ``cost``.
        teacher: The teacher that was distilled from.
        notes: What was chosen automatically.
        plugin: Distribution and version of the method whose code was run.
        code: Hash of that method's source.
        command: Command that makes it again; empty: that of this process.
        device: Name of the device; default: that of this process.
        weights: Hash of a teacher's weights.
        tuned: The study that chose the method's options.
    """
    card = registry().metric(metric)
    return Record(
        kind=_kind(spec),
        identity=spec.identity(),
        spec=stored(spec),
        status="done" if reason is None else "failed",
        reason=None if reason is None else line(reason, LONGEST),
        metrics=metrics_of(curve, card) if curve else None,
        metric=metric,
        higher_is_better=card.higher_is_better,
        teacher=teacher,
        cost=Cost.model_validate(cost or {}),
        curve=[dict(point) for point in curve],
        versions=versions(),
        device=device or devices.name(spec.device),
        host_class=host_class(),
        notes=[line(note, LONGEST) for note in notes],
        plugin=plugin,
        code=code,
        made=_made(work_dir, command),
        weights_sha256=weights,
        tuned=tuned,
    )


def _kind(spec: RunSpec | TeacherSpec | EvaluationSpec) -> Kind:
    if isinstance(spec, EvaluationSpec):
        return "evaluation"
    return "teacher" if isinstance(spec, TeacherSpec) else "cell"


def _made(work_dir: Path, command: str) -> Made:
    return Made(
        clock=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        path=printable(str(work_dir)),
        command=printable(command or shlex.join(["kdbench", *sys.argv[1:]])),
    )


def metrics_of(curve: Curve, metric: MetricCard) -> Metrics:
    """Return the last and the best evaluation of a curve."""
    last = {name: value for name, value in curve[-1].items() if name != "iteration"}
    return Metrics(last=last, best=best_point(curve, metric.name, higher_is_better=metric.higher_is_better))


def versions() -> dict[str, str]:
    """Return distribution and version of what a result depends on, by import name."""
    return dict(_versions())


@cache  # a process runs what it has imported; looking takes a second
def _versions() -> Mapping[str, str]:
    providers = metadata.packages_distributions()
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        distribution = min(providers.get(name, [name]))  # an editable installation lists no packages
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = f"{distribution} {metadata.version(distribution)}"
    return found


def host_class() -> str:
    """Return the kind of machine: system, architecture, number of cores and of threads."""
    import torch

    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
    )
