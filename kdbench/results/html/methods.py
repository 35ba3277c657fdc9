"""The cards of the methods in the page, with how each method did here."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Literal, NamedTuple, get_args, get_origin

from kdbench.cards import MethodCard
from kdbench.errors import UserError
from kdbench.offers import Offer
from kdbench.plugins import registry
from kdbench.results.html.sections import Section
from kdbench.results.naming import method_in
from kdbench.results.row import Row


class PageMethod(NamedTuple):
    """A method in the page.

    Attributes:
        name: Its name.
        offer: Its card and plugin; None if no installed plugin has the method.
        results: Its rows, each with the section of its ranking.
    """

    name: str
    offer: Offer[MethodCard] | None
    results: list[tuple[Section, Row]]


def page_methods(sections: Iterable[Section]) -> list[PageMethod]:
    """Return the installed methods and those in the rankings, by name.

    Args:
        sections: The rankings of the page.
    """
    results: dict[str, list[tuple[Section, Row]]] = {}
    for section in sections:
        for row in section.ranking.methods:
            results.setdefault(method_in(row["method"]), []).append((section, row))
    names = sorted({*registry().methods, *results})
    return [PageMethod(name, _offer(name), results.get(name, [])) for name in names]


def _offer(name: str) -> Offer[MethodCard] | None:
    """Return the offer of a method, or of a sum of methods; None if nothing has it."""
    with suppress(UserError):
        return registry().method(name)
    return None


def options(card: MethodCard) -> list[tuple[str, str, str, str]]:
    """Return name, default, choices and help of each option of a method."""
    return [
        (
            name,
            "" if (default := field.get_default(call_default_factory=True)) is None else str(default),
            _choices(field.annotation),
            field.description or "",
        )
        for name, field in card.options.model_fields.items()
    ]


def _choices(annotation: Any) -> str:
    return " | ".join(map(str, get_args(annotation))) if get_origin(annotation) is Literal else ""
