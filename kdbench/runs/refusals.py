"""Refuses methods that a model's family lacks, and stages that cannot be made, before anything is trained."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from kdbench.errors import PluginError, UserError
from kdbench.plugins import make_method, registry, title_of
from kdbench.runs.plan import Plan
from kdbench.selectors import canonical, resolve

if TYPE_CHECKING:
    from kdbench.distill import Method
    from kdbench.openmmlab.students import Subject
    from kdbench.specs import TeacherStage


def check_method(plan: Plan, student: Subject) -> None:
    """Refuse a method that needs what the student's family or the teacher does not have.

    Raises:
        UserError: With the families and this dataset's pairs that work.
    """
    from kdbench.openmmlab.checks.preflight import available, check_family
    from kdbench.openmmlab.models.configs import family_of

    family, features = family_of(student.config()), plan.cell.pair.teacher.gives_features
    method = make_method(plan.card, plan.options)
    if features and plan.cell.pair.inherit:
        raise UserError(
            "`settings` inherit=true: a teacher of feature maps has no neck and heads to inherit."
        )
    if features and plan.card.kind == "compression":
        raise UserError(
            f"{title_of(plan.card)} makes the student from its teacher: give one that is a whole model."
        )
    if features and plan.staged is not None:
        raise UserError(
            f"{title_of(plan.card)} fine-tunes its teacher, which one of feature maps alone cannot be."
        )
    try:
        check_family(method, family, features=features)
    except PluginError:
        raise
    except UserError as refused:
        has = available(family, features=features)
        raise UserError(f"{refused}{_working_variants(plan, has)}{_working_pairs(method, plan)}") from None


def _working_variants(plan: Plan, has: frozenset[str]) -> str:
    """Return a sentence with the variants of a method that work with the captures there are; it may be empty."""
    card = plan.card
    working = [
        canonical(card, options)
        for options in (resolve(card, {"variant": name}) for name in card.variants)
        if set(make_method(card, options).needs()) <= has
    ]
    return f" Variants that work with this one: {', '.join(working)}." if working else ""


def _working_pairs(method: Method[Any], plan: Plan) -> str:
    """Return a sentence with the pairs of a dataset in whose family the method works; it may be empty."""
    from kdbench.openmmlab.checks.preflight import available
    from kdbench.openmmlab.models.resolved import family_in

    needed, dataset = set(method.needs()), plan.dataset.name
    working: list[str] = []
    for pair in registry().pairs_of(dataset):
        with suppress(UserError):  # of a pair that does not work itself
            has = available(family_in(pair.student), features=pair.teacher.gives_features)
            working += [pair.name] if needed <= has else []
    return f" Pairs of {dataset} that work: {', '.join(working)} (`pair`)." if working else ""


def check_stage(stage: TeacherStage) -> str:
    """Make a stage's transform, and return one line on it.

    Raises:
        UserError: If that does not work.
    """
    from kdbench.distill.method import brief
    from kdbench.openmmlab.captures.stages import transform_of

    return f"{stage.title}: the teacher, fine-tuned with {brief(transform_of(stage))} on its feature maps"
