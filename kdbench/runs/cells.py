"""From specs to what is trained and where: models, folders, titles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from kdbench import devices
from kdbench.results.record import Record
from kdbench.runs.plan import Plan
from kdbench.runs.settings import RunSettings
from kdbench.specs import PLAIN, RunSpec, StagedTeacherSpec, TeacherSpec
from kdbench.threads import chosen, cores

if TYPE_CHECKING:
    from kdbench.openmmlab.students import Subject
    from kdbench.openmmlab.training.runner import Place

AnySpec = RunSpec | TeacherSpec
LOADING = 8
"""Most data loading processes beside a GPU, unless a number is asked for; beside a CPU there are none."""


OUTDATED = "with other code of the method than today's (`rerun=True` replaces its record)"


def subject_of(spec: AnySpec, plan: Plan, settings: RunSettings) -> Subject:
    """Return the model that a spec is about: the teacher, the pair's student, or one made from the teacher."""
    from kdbench.openmmlab.students import Subject

    inherits = None
    if isinstance(spec, TeacherSpec):
        model, pretrained = spec.model, spec.pretrained
    else:
        model, pretrained = plan.student_of(spec), spec.pair.pretrained
        if plan.ancestor is not None and not plan.compresses(spec):
            ancestor = plan.ancestor
            inherits = subject_of(ancestor, plan, settings), teacher_weights(ancestor, plan, settings)
    return Subject(
        name=spec.identity(),
        model=model,
        schedule=spec.recipe,
        dataset=plan.dataset,
        seed=spec.seed,
        pretrained=pretrained,
        download=settings.download,
        stage=spec.stage if isinstance(spec, StagedTeacherSpec) else None,
        classes=spec.classes if isinstance(spec, TeacherSpec) else None,
        inherits=inherits,
    )


def teacher_weights(teacher: TeacherSpec, plan: Plan, settings: RunSettings) -> Path:
    """Return the file with a teacher's weights: where its training leaves them, or the given checkpoint."""
    trained = settings.weights(teacher)
    if teacher.checkpoint is None or trained.is_file():
        return trained
    return plan.checkpoints[teacher.checkpoint]


def place_of(spec: AnySpec, plan: Plan, settings: RunSettings) -> Place:
    """Return the folders and the device of a spec's run."""
    from kdbench.openmmlab.training.runner import Place

    return Place(
        folder=plan.folder,
        work_dir=settings.folder(spec),
        device=spec.device,
        precision=spec.precision,
        workers=loading_processes(settings.workers, spec.device),
        visualizers=("LocalVisBackend", *settings.visualizers),
        step_limit=settings.step_limit,
    )


def title(spec: AnySpec) -> str:
    """Return the name of a spec for people."""
    if isinstance(spec, StagedTeacherSpec):
        return spec.stage.title
    if isinstance(spec, TeacherSpec):
        return "teacher" if spec.seed == 0 else f"teacher, seed {spec.seed}"
    name = "plain student" if spec.selector == PLAIN else spec.selector
    return f"{name}, seed {spec.seed}"


def loading_processes(wanted: int | None, device: str) -> int:
    """Return the data loading processes: as asked for, else those that a GPU's worker has cores for, at least 1."""
    if wanted is not None:
        return wanted
    return 0 if device == devices.CPU else max(1, min(LOADING, (chosen() or cores()) - 1))


def shown(metrics: Mapping[str, float]) -> str:
    """Format metrics, without those of single classes."""
    return ", ".join(f"{name} {value:.3f}" for name, value in metrics.items() if "/" not in name)


def score(record: Record) -> str:
    """Format the ranking metric of a record, in [0, 1], with its name."""
    return f"{record.metric} {record.score:.3f}" if record.score is not None else record.status


def outdated(record: Record, plan: Plan) -> bool:
    """Return whether a record was made with other code of the plan's method than there is now."""
    return record.code is not None and record.code != plan.code
