"""What is refused before anything is trained: methods that a family lacks, models that do not work."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdbench.errors import UserError
from kdbench.plugins import make_method, registry
from kdbench.runs.plan import Plan

if TYPE_CHECKING:
    from kdbench.distill import Method
    from kdbench.openmmlab.students import Subject
    from kdbench.specs import TeacherStage


def check_method(plan: Plan, student: Subject) -> None:
    """Refuse a method that needs what the student's family does not have.

    Raises:
        UserError: With the families and this dataset's pairs that work.
    """
    from kdbench.openmmlab.configs import family_of
    from kdbench.openmmlab.preflight import check_family

    method = make_method(plan.card, plan.options)
    try:
        check_family(method, family_of(student.config()))
    except UserError as refused:
        raise UserError(f"{refused}{_working_pairs(method, plan.dataset.name)}") from None


def _working_pairs(method: Method[Any], dataset: str) -> str:
    """Name the pairs of a dataset in whose family the method works, with a leading blank."""
    from kdbench.distill import FAMILIES

    needed = set(method.needs())
    working = [pair.name for pair in registry().pairs_of(dataset) if needed <= FAMILIES[pair.family]]
    return f" Pairs of {dataset} that work: {', '.join(working)} (--pair)." if working else ""


def check_stage(stage: TeacherStage) -> str:
    """Make a stage's transform; gives one line on it.

    Raises:
        UserError: If that does not work.
    """
    from kdbench.distill.method import brief
    from kdbench.openmmlab.stages import transform_of

    return f"{stage.title}: the teacher, fine-tuned with {brief(transform_of(stage))} on its feature maps"


def check_model(role: str, subject: Subject, *, trained: bool = True) -> str:
    """Build a model and run it once on shapes alone; gives one line on its size and on layers that are thawed.

    Args:
        role: ``teacher`` or ``student``.
        subject: The model, its dataset and its recipe.
        trained: Whether it is trained; False for a teacher from a checkpoint.

    Raises:
        UserError: If the config, an edit or the initial weights do not work.
    """
    from kdbench.openmmlab.complexity import parameters_and_flops
    from kdbench.openmmlab.pretrained import require_pretrained
    from kdbench.openmmlab.thawing import thawing

    config = subject.config()
    if subject.pretrained:
        require_pretrained(config, download=subject.download)
    try:
        parameters, flops = parameters_and_flops(config, subject.dataset, subject.schedule)
        notes = thawing(config, subject.dataset) if trained else []
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"the {role}'s model ({subject.model.config}) does not work: {reason(error)}. "
            f"Check its config and --set {role}.*."
        ) from error
    size = f"{amount(parameters)} parameters, {amount(flops)} multiply-adds"
    return ", ".join([f"{role}: {subject.model.config}", size, *notes])


def amount(number: int) -> str:
    """Format a large number with three digits: ``1.23 M``."""
    value, unit = (number / 1e9, "G") if number >= 1e9 else (number / 1e6, "M")
    return f"{value:.3g} {unit}"


def reason(error: Exception) -> str:
    """Format an error in one line: its message, or the failing line of code where it has none."""
    message = " ".join(str(error).split())
    if message:
        return f"{type(error).__name__}: {message}"
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(frame.filename).name}, line {frame.lineno}: {frame.line}"
