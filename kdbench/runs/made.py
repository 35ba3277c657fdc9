"""Which trainings have been made: their records and trained weights, found without reading the whole store."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from kdbench.files import slug
from kdbench.openmmlab.training.run_files import interrupted_at
from kdbench.results.record import TEACHERS, Record
from kdbench.results.store import Store
from kdbench.runs.cells import AnySpec
from kdbench.runs.plan import Plan
from kdbench.runs.settings import RunSettings
from kdbench.specs import TeacherSpec


def record_path(store: Store, spec: AnySpec) -> Path:
    """Return where a spec's own record is or would be."""
    if isinstance(spec, TeacherSpec):
        pair, prefix = TEACHERS, "teacher"
    else:
        pair, prefix = spec.pair.name, slug(spec.selector)
    name = f"{prefix}-seed{spec.seed}-{spec.identity()[:12]}.json"
    return store.root / "records" / slug(spec.dataset) / slug(pair) / name


def own_record(store: Store, spec: AnySpec) -> Record | None:
    """Return a spec's own record, done or not; None where there is none that can be read.

    Raises:
        UserError: If a newer kdbench wrote it.
    """
    record = store.own(record_path(store, spec))
    return record if record is not None and record.identity == spec.identity() else None


def stamp(store: Store, spec: AnySpec) -> tuple[int, int] | None:
    """Return a value that changes when a spec's record is written again; None where there is no record."""
    try:
        found = record_path(store, spec).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def is_made(settings: RunSettings, spec: AnySpec) -> bool:
    """Return whether a spec need not be run: a student has a done record, a teacher its weights too."""
    record = own_record(settings.store, spec) or settings.store.find(spec.identity())
    return record is not None and record.done and has_weights(settings, spec, record)


def has_weights(settings: RunSettings, spec: AnySpec, record: Record) -> bool:
    """Return whether a done run has the weights that others need of it: only a trained teacher needs any."""
    needed = isinstance(spec, TeacherSpec) and was_trained(record)
    return not needed or settings.weights(spec).is_file()


def was_trained(record: Record) -> bool:
    """Return whether a done record is of a training, and not of a checkpoint that was only measured."""
    return record.curve[-1]["iteration"] > 0


def teachers_to_train(plan: Plan, made: Callable[[TeacherSpec], bool]) -> dict[str, TeacherSpec]:
    """Return the teachers, by identity, that must be trained before a plan's cell.

    Args:
        plan: The cell's.
        made: Whether a teacher need not be trained; a source of feature maps never is.
    """
    wanted: list[TeacherSpec] = [spec for spec in (plan.staged, plan.ancestor) if spec is not None]
    if plan.teacher is not None and not (plan.staged is not None and made(plan.staged)):
        wanted += [plan.teacher, *plan.others]
    return {spec.identity(): spec for spec in wanted if not (spec.model.gives_features or made(spec))}


def teachers_of(plans: Iterable[Plan], made: Callable[[TeacherSpec], bool]) -> dict[str, TeacherSpec]:
    """Return :func:`teachers_to_train` of several plans."""
    distinct = {(plan.cell.teacher, plan.ancestor): plan for plan in plans}.values()
    return {identity: spec for plan in distinct for identity, spec in teachers_to_train(plan, made).items()}


def trainings_of(plan: Plan) -> dict[str, AnySpec]:
    """Return all that a plan may have to train, by identity."""
    specs = [plan.cell, plan.plain, plan.teacher, plan.ancestor, plan.staged, *plan.others]
    return {spec.identity(): spec for spec in specs if spec is not None}


def checkpoints_of(plan: Plan, settings: RunSettings) -> int:
    """Return the iterations, summed over all that a plan trains, from which interrupted trainings resume."""
    return sum(interrupted_at(settings.folder(spec)) or 0 for spec in trainings_of(plan).values())
