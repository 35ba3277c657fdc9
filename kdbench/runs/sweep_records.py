"""Records and trained weights of single specs, found without reading the store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from kdbench.files import slug
from kdbench.openmmlab.training.run_files import WEIGHTS, interrupted_at
from kdbench.results.record import Record
from kdbench.results.store import Store
from kdbench.results.views import TEACHERS
from kdbench.runs.cells import AnySpec
from kdbench.runs.plan import Plan
from kdbench.runs.settings import RunSettings, run_folder
from kdbench.specs import RunSpec, TeacherSpec


def path_of(store: Store, spec: AnySpec) -> Path:
    """Where a spec's own record is or would be."""
    pair, prefix = (TEACHERS, "teacher") if isinstance(spec, TeacherSpec) else _names(spec)
    name = f"{prefix}-seed{spec.seed}-{spec.identity()[:12]}.json"
    return store.root / "records" / slug(spec.dataset) / slug(pair) / name


def _names(spec: RunSpec) -> tuple[str, str]:
    return spec.pair.name, slug(spec.selector)


def record_of(store: Store, spec: AnySpec) -> Record | None:
    """Return a spec's own record, done or not; None where there is none that can be read.

    Raises:
        UserError: When a newer kdbench wrote it.
    """
    record = store.own(path_of(store, spec))
    return record if record is not None and record.identity == spec.identity() else None


def stamp(store: Store, spec: AnySpec) -> tuple[int, int] | None:
    """Return a value that changes when a spec's record is written anew; None where there is none."""
    try:
        found = path_of(store, spec).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def weights_of(work_dir: Path, spec: AnySpec) -> Path:
    """Where the trained weights of a spec are or would be."""
    return run_folder(work_dir, spec.identity()) / WEIGHTS


def is_there(settings: RunSettings, spec: AnySpec) -> bool:
    """Whether a spec need not be run: a student has its record, a teacher its weights too."""
    record = record_of(settings.store, spec) or settings.store.find(spec.identity())
    return record is not None and record.done and has_weights(settings.work_dir, spec, record)


def has_weights(work_dir: Path, spec: AnySpec, record: Record) -> bool:
    """Whether a spec with a done record has the weights that it needs, too: those of a teacher that was trained."""
    if not isinstance(spec, TeacherSpec) or not was_trained(record):
        return True
    return weights_of(work_dir, spec).is_file()


def was_trained(record: Record) -> bool:
    """Whether a done record is of a training, and not of a checkpoint that was measured as it was given."""
    return record.curve[-1]["iteration"] > 0


def needs_of(plan: Plan, there: Callable[[TeacherSpec], bool]) -> dict[str, TeacherSpec]:
    """Return the teachers, by identity, that must be trained for a plan's cell; feature teachers are ready."""
    wanted: list[TeacherSpec] = [] if plan.staged is None else [plan.staged]
    wanted += [] if plan.ancestor is None else [plan.ancestor]
    if plan.teacher is not None and not (plan.staged is not None and there(plan.staged)):
        wanted += [plan.teacher, *plan.others]
    return {spec.identity(): spec for spec in wanted if not (spec.model.gives_features or there(spec))}


def specs_of(plan: Plan) -> dict[str, AnySpec]:
    """All that a plan may have to train, by identity."""
    specs = [plan.cell, plan.plain, plan.teacher, plan.ancestor, plan.staged, *plan.others]
    return {spec.identity(): spec for spec in specs if spec is not None}


def checkpoints_of(plan: Plan, work_dir: Path) -> int:
    """Sum the iterations, over all that a plan trains, from which interrupted trainings resume."""
    return sum(interrupted_at(run_folder(work_dir, identity)) or 0 for identity in specs_of(plan))
