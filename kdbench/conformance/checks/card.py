"""The card."""

from __future__ import annotations

import os
import subprocess
import sys

from kdbench.cards import MethodCard
from kdbench.conformance.broken import Broken, require
from kdbench.conformance.exam import Exam
from kdbench.conformance.promises import HEAVY
from kdbench.plugins import ENVIRONMENT, load_method

FILLED = ("title", "authors", "year", "link", "bibtex", "tasks", "equations", "method")
COLUMNS = {"paper", "table", "dataset", "teacher", "student", "variant", "metric", "value", "source"}
PATIENCE = 120
"""Seconds in which a card must be read."""

READ = f"""
import sys
from kdbench.plugins import registry
registry().method(sys.argv[1]).value.published()
print(*sorted({set(HEAVY)!r} & set(sys.modules)))
"""


def complete(exam: Exam) -> None:
    """Every field says something, the variants are the option's, and the method is one."""
    card = exam.card
    empty = [name for name in FILLED if not getattr(card, name)]
    require(not empty, f"the card's {', '.join(empty)} {'is' if len(empty) == 1 else 'are'} empty")
    require(card.bibtex.lstrip().startswith("@"), "the card's bibtex does not begin with @")
    _variants(card)
    _published(card)
    load_method(card)


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
    """A fresh process reads the plugin's cards and has imported nothing heavy."""
    plugin = exam.target.plugin
    environment = {
        **os.environ,
        ENVIRONMENT: plugin.distribution,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    command = [sys.executable, "-c", READ, exam.card.name]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        raise Broken(f"importing {plugin.module} took more than {PATIENCE} s") from None
    said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
    require(done.returncode == 0, f"{plugin.module} cannot be read in a fresh process: {said}")
    imported = done.stdout.splitlines()[-1].split()
    require(not imported, f"reading the card in {plugin.module} imports {', '.join(imported)}")
