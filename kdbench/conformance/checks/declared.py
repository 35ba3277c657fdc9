"""Checks of the card and the options, before any training."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from kdbench.cards import MethodCard, Options
from kdbench.combined import PLUS
from kdbench.conformance.broken import PromiseBroken, require
from kdbench.conformance.exam import Exam
from kdbench.conformance.models import working_families
from kdbench.conformance.promises import HEAVY
from kdbench.distill import FAMILIES, Method
from kdbench.distill.settings import noted
from kdbench.errors import UserError
from kdbench.offers import ENVIRONMENT
from kdbench.plugins import load_method, make_method
from kdbench.selectors import canonical, parse, resolve
from kdbench.specs import task_of

FILLED = ("title", "authors", "year", "link", "bibtex", "tasks", "equations", "method")
COLUMNS = {"paper", "table", "dataset", "teacher", "student", "variant", "metric", "value", "source"}
PATIENCE = 120
"""Seconds that reading a card may take."""

READ = f"""
import sys
from kdbench.plugins import registry
registry().method(sys.argv[1]).value.published()
print(*sorted({set(HEAVY)!r} & set(sys.modules)))
"""


def complete(exam: Exam) -> None:
    """Check that no field is empty, the variants match the option, and the method can be imported."""
    card = exam.card
    empty = [name for name in FILLED if not getattr(card, name)]
    require(not empty, f"the card's {', '.join(empty)} {'is' if len(empty) == 1 else 'are'} empty")
    require(card.bibtex.lstrip().startswith("@"), "the card's bibtex does not begin with @")
    _variants(card)
    _published(card)
    with noted(exam.changed):
        method = load_method(card)
    require(
        not card.attends or method.attention is not Method.attention,
        f"the card says what it attends to ({card.attends}), but the method does not define attention()",
    )


def _variants(card: MethodCard) -> None:
    option = card.options.model_fields.get("variant")
    require(option is not None or not card.variants, "the card has variants, but no option 'variant'")
    if option is not None:
        own = set(getattr(option.annotation, "__args__", ()))
        require(
            own == set(card.variants),
            f"the card explains the variants {sorted(card.variants)}, the option 'variant' takes {sorted(own)}",
        )


def _published(card: MethodCard) -> None:
    for row in card.published():
        missing = COLUMNS - {name for name, value in row.items() if value is not None}
        require(not missing, f"a row of {card.reported} has no {', '.join(sorted(missing))}")


def light(exam: Exam) -> None:
    """Check that reading the plugin's cards in a new process imports none of the heavy libraries."""
    plugin = exam.target.plugin
    environment = {
        **os.environ,
        ENVIRONMENT: plugin.distribution.replace(PLUS, ","),
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    command = [sys.executable, "-c", READ, exam.card.name]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        raise PromiseBroken(f"importing {plugin.module} took more than {PATIENCE} s") from None
    said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
    require(done.returncode == 0, f"{plugin.module} cannot be read in a fresh process: {said}")
    imported = done.stdout.splitlines()[-1].split()
    require(not imported, f"reading the card in {plugin.module} imports {', '.join(imported)}")


UNKNOWN = "no_such_option"


def validated(exam: Exam) -> None:
    """Check that defaults are valid and survive a selector, and that invalid options are refused."""
    kind = exam.card.options
    for name, field in kind.model_fields.items():
        require(not field.is_required(), f"option '{name}' has no default")
        require(bool(field.description), f"option '{name}' has no description: give it a docstring")
    _accepted(kind, kind().model_dump(), "its defaults are not valid")
    for values in _chosen(exam):
        _accepted(kind, values, f"{values} is not valid")
    require(not _accepts(kind, {UNKNOWN: 1}), "an unknown option is accepted")
    for name, field in kind.model_fields.items():
        _range(kind, name, field)
    _pasted_back(exam)


def _chosen(exam: Exam) -> list[dict[str, Any]]:
    """Return the options that other checks use: those of each variant, and those of the plain student."""
    return [*({"variant": name} for name in exam.card.variants), dict(exam.card.options.plain)]


def _accepted(kind: type[Options], values: dict[str, Any], otherwise: str) -> None:
    try:
        kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise PromiseBroken(f"{otherwise}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _accepts(kind: type[Options], values: dict[str, Any]) -> bool:
    try:
        kind.model_validate(values)
    except ValidationError:
        return False
    return True


def _range(kind: type[Options], name: str, field: FieldInfo) -> None:
    if isinstance(field.get_default(call_default_factory=True), float):
        for value in (math.nan, math.inf):
            require(not _accepts(kind, {name: value}), f"option '{name}' accepts {value}")


def _pasted_back(exam: Exam) -> None:
    """Check that parsing the selector of each variant returns its options."""
    for options in exam.variants:
        selector = canonical(exam.card, options)
        try:
            again = resolve(exam.card, parse(selector)[1])
        except UserError as error:
            raise PromiseBroken(f"its own selector {selector} is refused: {error}") from None
        require(again == options, f"its own selector {selector} gives other options")


def refused(exam: Exam) -> None:
    """Check that each variant needs existing captures, has a family, and raises UserError in other families."""
    known = frozenset().union(*FAMILIES.values())
    for options in exam.variants:
        selector = canonical(exam.card, options)
        needs = frozenset(make_method(exam.card, options).needs())
        unknown = ", ".join(sorted(needs - known))
        require(not unknown, f"{selector} asks for captures that do not exist: {unknown}")
        require(
            bool(exam.families(options)), f"{selector} works in no family of {' and '.join(exam.card.tasks)}"
        )
        for family in FAMILIES:
            if not needs <= FAMILIES[family]:
                _elsewhere(exam, options, family)
    working = {family for options in exam.variants for family in working_families(exam.card, options)}
    missing = set(exam.card.tasks) - {task_of(family) for family in working}
    require(
        not missing,
        f"the card is for {' and '.join(sorted(missing))}, where no family has what it captures: "
        f"{', '.join(sorted(make_method(exam.card, exam.options).needs()))}",
    )
    _families_as_told(exam, working)


def _families_as_told(exam: Exam, working: set[str]) -> None:
    """Check that the card's families are those in which the method works; with options, that they include them."""
    told = set(exam.card.families)
    wrong = working - told if exam.target.raw else working ^ told
    require(
        not told or not wrong,
        f"the card's families are {', '.join(exam.card.families)}, and it works in {', '.join(sorted(working))}",
    )


def _elsewhere(exam: Exam, options: Options, family: str) -> None:
    from kdbench.openmmlab.checks.preflight import check_family

    try:
        check_family(make_method(exam.card, options), family)
    except UserError:
        return
    raise PromiseBroken(
        f"{canonical(exam.card, options)} is not refused in {family} models, which lack its captures"
    )
