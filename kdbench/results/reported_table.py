"""The numbers that the papers of all installed methods report, in one table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from kdbench.cards import MethodCard
from kdbench.errors import UserError
from kdbench.plugins import registry, suggestion
from kdbench.results.papers import TAGS, PaperResult, paper_results
from kdbench.results.table import Column, Table
from kdbench.selectors import canonical, parse, resolve

REPORTED_HEADING = "What the papers report"
REPORTED_NOTE = (
    "Numbers as their sources print them; none of them was measured here. The difference is to the same source's "
    "own plain student: positive is better, for errors too. Schedules, data and code differ between sources, so "
    f"compare numbers within one source only. {TAGS}"
)


@dataclass(frozen=True)
class Entry:
    """A published number of a method.

    Attributes:
        method: Name of the method.
        label: Its selector or, if kdbench has no such variant, its name and the paper's own words.
        result: The number.
    """

    method: str
    label: str
    result: PaperResult


def _words(title: str, help: str, name: str, *, extra: bool = False) -> Column[Entry]:
    return Column(title, help, lambda entry: entry.result.row.get(name) or "", number=False, extra=extra)


def _number(title: str, help: str, name: str, sign: str = "") -> Column[Entry]:
    def value(entry: Entry) -> Decimal | None:
        found: Decimal | None = getattr(entry.result, name)
        return found

    def text(entry: Entry) -> str:
        return "" if (found := value(entry)) is None else f"{found:{sign}}"

    return Column(title, help, text, value)


REPORTED_COLUMNS: tuple[Column[Entry], ...] = (
    _words("dataset", "Dataset, validation split unless stated otherwise", "dataset"),
    _words("metric", "Metric, under the name that kdbench has for it, if any", "metric"),
    _words("teacher", "Teacher; blank if the source does not name it", "teacher"),
    _words("student", "Student", "student"),
    Column(
        "method",
        "Selector, or the method's name and the paper's own words",
        lambda entry: entry.label,
        number=False,
    ),
    _number("score", "The distilled student's score", "value"),
    _number("plain", "The same source's plain student", "plain"),
    _number("vs plain", "Difference to that plain student; positive is better", "difference", "+"),
    _number("teacher score", "The same source's teacher", "teacher"),
    _words("source", TAGS, "source"),
    _words("where", "Table of the paper, or another place of the source", "table"),
    _words("note", "Remark on the number", "note", extra=True),
)


def entries(
    datasets: Sequence[str] = (), methods: Sequence[str] = (), sort: str | None = None
) -> list[Entry]:
    """Return what the papers of the installed methods report.

    Args:
        datasets: Names of datasets, such as ``coco``; ``voc`` includes VOC07 and VOC12. Default: all.
        methods: Names of methods; default: all.
        sort: Title of a column to sort by, numbers from high to low; default: dataset, metric, teacher and student,
            then the largest difference.

    Raises:
        UserError: If a method, dataset or column is unknown.
    """
    found = registry()
    cards = [found.method(name).value for name in dict.fromkeys(methods or sorted(found.methods))]
    every = sorted((entry for card in cards for entry in _entries(card)), key=_place)
    for name in datasets:
        if not any(_is_of(entry, name) for entry in every):
            known = {entry.result.row["dataset"].lower() for entry in every}
            raise UserError(f"no number on '{name}' is reported here.{suggestion(name.lower(), known)}")
    kept = [entry for entry in every if not datasets or any(_is_of(entry, name) for name in datasets)]
    return kept if sort is None else _sorted(kept, sort)


def _entries(card: MethodCard) -> Iterator[Entry]:
    for result in () if card.reported is None else paper_results(card.reported):
        yield Entry(card.name, label(card, result.row["variant"]), result)


def label(card: MethodCard, variant: str) -> str:
    """Return the selector that runs a published variant or, if there is none, the method and the paper's words."""
    inside = f"variant={variant}" if "variant" in card.options.model_fields else variant
    try:
        return canonical(card, resolve(card, parse(f"{card.name}[{inside}]" if inside else card.name)[1]))
    except UserError:
        return f"{card.name}: {variant}"


def _is_of(entry: Entry, dataset: str) -> bool:
    own = entry.result.row["dataset"].lower()
    return re.match(rf"{re.escape(dataset.lower())}(?![a-z])", own) is not None


def _place(entry: Entry) -> tuple[object, ...]:
    row, gain = entry.result.row, entry.result.difference
    setting = tuple(row[name].lower() for name in ("dataset", "metric", "teacher", "student"))
    return (*setting, gain is None, -(gain or 0), entry.label)


def _sorted(found: Sequence[Entry], title: str) -> list[Entry]:
    """Sort entries by a column: numbers from high to low, words from A to Z, blanks last."""
    column = next((column for column in REPORTED_COLUMNS if column.title == title), None)
    if column is None:
        known = [one.title for one in REPORTED_COLUMNS]
        raise UserError(f"no column '{title}' to sort by.{suggestion(title, known)}")

    def place(entry: Entry) -> tuple[object, ...]:
        number = None if column.value is None else column.value(entry)
        return not column.text(entry), 0 if number is None else -number, column.text(entry).lower()

    return sorted(found, key=place)


def reported_table(found: Sequence[Entry]) -> Table:
    """Return entries as a table, without the columns that are blank in all of them."""
    shown = [column for column in REPORTED_COLUMNS if any(map(column.text, found))]
    rows = [[column.text(entry) for column in shown] for entry in found]
    align = "".join("r" if column.number else "l" for column in shown)
    return Table([column.title for column in shown], rows, align, REPORTED_HEADING, REPORTED_NOTE)
