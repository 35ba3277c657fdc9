"""What the trials of a tuning study share: the tuning split, the plans on it, and the study's own file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from kdbench.cards import Dataset, Options
from kdbench.datasets.fingerprint import fingerprint
from kdbench.datasets.holdout import described, for_tuning
from kdbench.errors import UserError
from kdbench.plugins import registry
from kdbench.runs.plan import Plan, Planner, staged_teacher, stored, taught_by
from kdbench.runs.request import Request
from kdbench.selectors import parse
from kdbench.tuning.space import space_of
from kdbench.tuning.study import Study, StudySpec


@dataclass(frozen=True)
class Ground:
    """What all trials of a study share.

    Attributes:
        request: What was asked for.
        asked: Its plan on the dataset itself, which is never run.
        dataset: The tuning split of the dataset.
        data: Fingerprint of its content.
        planner: Resolves selectors.
    """

    request: Request
    asked: Plan
    dataset: Dataset
    data: str
    planner: Planner

    @classmethod
    def of(cls, request: Request) -> Ground:
        """Look everything up that a study depends on. Raises UserError as a plan does."""
        planner = Planner()
        plan = planner.plan(request)
        if plan.teacher is None:
            raise UserError(f"method '{plan.card.name}' has no options to tune: name another.")
        dataset = for_tuning(plan.dataset)
        return cls(request, plan, dataset, fingerprint(dataset, plan.folder), planner)

    def plan(self, selector: str) -> Plan:
        """Return the plan of a trial."""
        plan = self.planner.plan(replace(self.request, method=selector))
        return on_tuning_split(plan, self.dataset, self.data)

    def study(self, usable: Callable[[Options], bool]) -> Study:
        """Return the study that the request asks for, before its first trial.

        Args:
            usable: Whether the method can be trained at all on the pair with such options.

        Raises:
            UserError: If there is nothing to search.
        """
        _, raw = parse(self.request.method)
        plan = self.plan(self.request.method)
        space, left = space_of(plan.options, frozenset(raw), usable)
        if not space:
            why = "; ".join(f"{name}: {reason}" for name, reason in left.items())
            raise UserError(f"'{self.request.method}' leaves nothing to search ({why}).")
        return Study(
            spec=StudySpec(start=stored(plan.cell), space=space),
            selector=plan.cell.selector,
            dataset=self.asked.dataset.name,
            validation=described(self.asked.dataset),
            metric=plan.dataset.metric,
            higher_is_better=registry().metric(plan.dataset.metric).higher_is_better,
            left=left,
        )


def on_tuning_split(plan: Plan, dataset: Dataset, data: str) -> Plan:
    """Return the plan with all its trainings, its teachers' too, on the tuning split of its dataset.

    Args:
        plan: A method's plan, without given checkpoints.
        dataset: The tuning split, see :func:`kdbench.datasets.holdout.for_tuning`.
        data: Fingerprint of its content.
    """
    assert plan.teacher is not None, "a plain student has nothing to tune"
    assert not plan.checkpoints, "a given teacher may have learned the validation images"
    moved = {"dataset": dataset.name, "data": data}
    first, *others = (spec.model_copy(update=moved) for spec in (plan.teacher, *plan.others))
    staged = staged_teacher(first, plan.card, plan.options)
    teacher = taught_by([staged] if staged else [first, *others])
    ancestor = first if plan.ancestor else None
    students = moved | {
        "pair": plan.cell.pair.model_copy(update={"inherits": ancestor and ancestor.identity()})
    }
    return replace(
        plan,
        dataset=dataset,
        teacher=first,
        others=tuple(others),
        ancestor=ancestor,
        staged=staged,
        plain=plan.plain.model_copy(update=students),
        cell=plan.cell.model_copy(update=students | {"teacher": teacher}),
    )
