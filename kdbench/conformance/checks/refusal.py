"""Where the method works, and how it is refused elsewhere."""

from __future__ import annotations

from kdbench.cards import Options
from kdbench.conformance.broken import Broken, require
from kdbench.conformance.exam import Exam
from kdbench.conformance.models import task_of
from kdbench.distill import FAMILIES
from kdbench.errors import UserError
from kdbench.plugins import load_method
from kdbench.selectors import canonical


def refused(exam: Exam) -> None:
    """Each variant names captures that there are, has a family, and is refused by UserError in the others."""
    known = frozenset().union(*FAMILIES.values())
    for options in exam.variants:
        selector = canonical(exam.card, options)
        needs = frozenset(load_method(exam.card).needs(options))
        unknown = ", ".join(sorted(needs - known))
        require(not unknown, f"{selector} asks for captures that do not exist: {unknown}")
        require(
            bool(exam.families(options)), f"{selector} works in no family of {' and '.join(exam.card.tasks)}"
        )
        for family in FAMILIES:
            if not needs <= FAMILIES[family]:
                _elsewhere(exam, options, family)
    missing = set(exam.card.tasks) - {task_of(f) for options in exam.variants for f in exam.families(options)}
    require(
        not missing,
        f"the card is for {' and '.join(sorted(missing))}, where no family has what it captures: "
        f"{', '.join(sorted(load_method(exam.card).needs(exam.options)))}",
    )


def _elsewhere(exam: Exam, options: Options, family: str) -> None:
    from kdbench.openmmlab.preflight import check_family

    try:
        check_family(exam.card.name, load_method(exam.card), options, family)
    except UserError:
        return
    raise Broken(
        f"{canonical(exam.card, options)} is not refused in {family} models, which lack its captures"
    )
